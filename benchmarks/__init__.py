"""Measurements side by side with peers; each prints JSON lines."""
