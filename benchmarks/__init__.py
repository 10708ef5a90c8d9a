"""Whole pipelines against a known truth, and how fast they are beside their peers."""
