"""Readers fed with altered bytes: ``python -m benchmarks.fuzz headers|tables|bundles``."""
