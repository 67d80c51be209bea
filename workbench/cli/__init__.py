"""The command line: ``workbench run STAGE``, ``workbench runs``, ``workbench pipeline run`` ..."""

from workbench.cli.main import main

__all__ = ["main"]
