"""Training one network under Lightning."""
