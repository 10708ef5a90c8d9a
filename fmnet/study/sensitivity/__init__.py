"""The same study with one thing changed, to see whether the result holds."""
