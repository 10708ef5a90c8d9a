"""How far long work is: nested bars on a terminal, whole lines in a log."""
