"""Cleaning rules: one file per rule, each a setting and a function over a column of texts."""
