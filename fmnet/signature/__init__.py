"""Which regions carry a signature, and whether that is to be believed."""
