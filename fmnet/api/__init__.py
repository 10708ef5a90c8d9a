"""What ``import fmnet`` offers: signatures from Python, with plain values."""
