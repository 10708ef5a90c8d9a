"""BOLD runs on the way to the network's input: confounds, cleaning, maps, synthetic runs."""
