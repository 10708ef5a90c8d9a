"""Whole pipelines measured against a known truth."""
