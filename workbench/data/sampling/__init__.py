"""Ways to choose records: by hash, weight, likeness to a target, coverage or uncertainty."""
