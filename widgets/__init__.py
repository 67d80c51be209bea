"""Thin views over the workbench: what they show is told by pure models, what they do by Specs."""
