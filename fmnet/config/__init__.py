"""Checks and instantiation of the composed configuration."""
