"""From files on disk to checked scans, one grid and folds."""
