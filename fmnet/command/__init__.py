"""The command ``fmnet``: one module for each kind of subcommand, imported when it is called."""
