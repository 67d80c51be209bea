"""What the tests of kills share: a source of chance whose seed is told."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest


@pytest.fixture
def chance() -> Iterator[random.Random]:
    """Offer a source of chance whose seed is printed, and set again by WORKBENCH_CHAOS_SEED."""
    seed = int(os.environ.get("WORKBENCH_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WORKBENCH_CHAOS_SEED={seed}")
    yield random.Random(seed)
