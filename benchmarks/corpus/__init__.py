"""Hostile and odd but valid inputs, each with what is right, run through every door of fmnet."""
