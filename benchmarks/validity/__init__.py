"""Whether the figures and sentences of a study hold what they promise, measured by simulation."""
