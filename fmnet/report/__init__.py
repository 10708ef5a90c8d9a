"""The run in words, figures and one self-contained page."""
