"""What runs on new scans: preparation, bundle, prediction. Needs no torch."""
