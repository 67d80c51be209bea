"""What a model is for: prediction columns, metrics, the baseline and the evaluation."""
