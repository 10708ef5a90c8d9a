"""What a study predicts: groups, numbers, times to an event, effects of a drug."""
