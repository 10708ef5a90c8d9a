"""Models that a network has to be compared with, in the same folds."""
