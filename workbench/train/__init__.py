"""Training and distillation: one loop on supervised ranks, resumable to the bit."""
