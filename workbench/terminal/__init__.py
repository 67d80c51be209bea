"""What a terminal shows: a run that is followed, and tables."""
