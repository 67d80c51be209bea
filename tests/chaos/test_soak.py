"""The soak: ``make soak`` for long, a short one in every test run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from live_workspace import StartWorkspace
from soak import soak

NUM_RUNS = int(os.environ.get("WORKBENCH_SOAK_RUNS") or 8)
NUM_KILLS = int(os.environ.get("WORKBENCH_SOAK_KILLS") or 12)


@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * (NUM_RUNS + NUM_KILLS))
def test_nothing_is_lost_or_done_twice_whoever_dies(
    start_workspace: StartWorkspace, tmp_path: Path, chance: random.Random
) -> None:
    found = soak(
        lambda: start_workspace(slots=2, WORKBENCH_DASK="own"), tmp_path, NUM_RUNS, NUM_KILLS,
        chance,
    )  # fmt: skip
    print(found.told())
