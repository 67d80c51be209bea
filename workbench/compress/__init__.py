"""Compression: smaller and faster forms of a model, each proved against the original."""
