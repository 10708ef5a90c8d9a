"""Cross-validated studies: folds, baselines, metrics, run folder, report."""
