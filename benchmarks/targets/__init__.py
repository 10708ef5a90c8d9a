"""Whether targets are found where they were planted, and only there."""
