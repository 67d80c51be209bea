"""Watching what a model sees: has the text that comes in changed?"""
