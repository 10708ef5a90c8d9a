"""From a finished run to a bundle, refused unless every form of the network agrees."""
