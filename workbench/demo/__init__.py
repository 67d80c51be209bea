"""The main job on the shipped sample: raw text to a served, watched small model."""
