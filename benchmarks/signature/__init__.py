"""Whether a signature's maps show what was planted, and only where something was."""
