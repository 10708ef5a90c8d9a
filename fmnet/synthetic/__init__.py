"""Made-up cohorts of maps and BOLD runs, with effects that are known; nobody was scanned."""
