"""Compiled loops over the bytes of Arrow string columns; one module per idea.

A kernel sees a text as its UTF-8 bytes (uint8 [n]) and never makes a Python string. Broken UTF-8
gives odd scores, never a read outside the text.
"""
