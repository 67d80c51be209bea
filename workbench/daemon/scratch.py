"""What in the working folders of runs nobody will read again: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from workbench.catalog.retention import SECONDS_A_DAY
from workbench.queue.needs import Scratch
from workbench.queue.states import ACTIVE, TERMINAL, RunState

_SAFE_SECONDS = SECONDS_A_DAY  # what is older than this is no live attempt's, whatever clocks say
_CLOCK_SECONDS = 300.0  # by which the clock of an artifact store may differ from ours


def is_over(scratch: Scratch, now: float, keep_days: float) -> bool:
    """Whether a run's whole folder may go: it succeeded, or nobody has resumed it for long."""
    if scratch.state not in TERMINAL:
        return False
    if scratch.state == RunState.SUCCEEDED:
        return True
    return now - (scratch.ended_at or now) > keep_days * SECONDS_A_DAY


def leftovers(scratch: Scratch, names: Iterable[str], checkpoints: Iterable[str]) -> list[str]:
    """Return which entries of a run's folder belong to attempts that are dead.

    ``names`` are the entries of the folder, ``checkpoints`` those of its ``checkpoints``. Of a run
    that has an attempt now, nothing is touched.
    """
    if scratch.state in ACTIVE:
        return []
    # A key may have slashes in it: then its first part is an entry that counts.
    counting = {PurePosixPath(folder).parts[0] for folder in scratch.checkpoints if folder}
    dead = [name for name in names if name.startswith(("partial-", "staging-"))]
    return sorted(dead) + sorted(f"checkpoints/{c}" for c in checkpoints if c not in counting)


def is_abandoned(changed_at: float, oldest_live_attempt: float | None, now: float) -> bool:
    """Whether files that the catalog does not name can be no live attempt's.

    That is so when no attempt is alive, when they are older than all that are, or very old.
    """
    if oldest_live_attempt is None or now - changed_at > _SAFE_SECONDS:
        return True
    return changed_at < oldest_live_attempt - _CLOCK_SECONDS
