"""fmnet: fibromyalgia signatures from fMRI maps with a 3D CNN. Research use only."""

__version__ = "0.1.0"
