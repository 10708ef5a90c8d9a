"""What others do for the same task; each is run by itself, in a process of its own."""
