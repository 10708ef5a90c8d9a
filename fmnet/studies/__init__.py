"""A whole study, from a listing to a run folder: of groups or of a target, and its lock-box."""
