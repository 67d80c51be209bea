"""The catalog: what was made, from what, and which version each name points at."""
