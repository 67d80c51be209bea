"""Prompts as versioned objects, and labelling texts with them."""
