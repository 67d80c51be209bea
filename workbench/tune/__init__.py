"""Search over the parameters of any stage's Spec."""
