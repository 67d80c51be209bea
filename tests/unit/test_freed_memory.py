"""What becomes of memory that a rank frees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workbench.train.host_ranks import rank_zygote

_FREES = """
import numpy, psutil, sys
from workbench.train.freed_memory import give_back_freed_memory

if sys.argv[1] == "give back":
    give_back_freed_memory()
begun = psutil.Process().memory_info().rss
for size in range(2, 22):  # each larger than the hole that the one before has left
    block = numpy.ones((size, 1 << 20), numpy.uint8)
    small = numpy.ones(1000)  # and what stays lies behind it
    kept = [small] if size == 2 else [*kept, small]
    del block
print((psutil.Process().memory_info().rss - begun) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of glibc")
def test_ranks_keep_what_they_free_unless_they_give_it_back() -> None:
    def megabytes_left(how: str) -> float:
        environment = {**os.environ, **rank_zygote(1).environment}
        command = [sys.executable, "-c", _FREES, how]
        return float(subprocess.check_output(command, env=environment, text=True))

    assert megabytes_left("keep") > 15
    assert megabytes_left("give back") < 5
