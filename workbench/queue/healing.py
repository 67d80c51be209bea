"""Which failures a run heals from by itself, how, and how often: one table, and a pure function.

What is not in the table fails the run: an error of a Spec, of data or of code would come again.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.errors import Cause


@dataclass(frozen=True)
class Rule:
    """How a run goes on after one kind of failure."""

    most: int  # failures with no new checkpoint between them; the last of them is one too many
    first_wait: float  # seconds before the first new start; twice as long before each next one
    remedy: str
    rests: bool = False  # it goes on only when somebody resumes it


@dataclass(frozen=True)
class Remedy:
    """What is done about a failure: the run starts again after so many seconds, or rests."""

    after_seconds: float
    told: str
    rests: bool = False


RULES: dict[Cause, Rule] = {
    Cause.WORKER_LOST: Rule(5, 0.0, "starts again from its last checkpoint"),
    Cause.RANK_KILLED: Rule(5, 0.0, "starts again from its last checkpoint"),
    Cause.STALLED: Rule(5, 0.0, "is ended and starts again from its last checkpoint"),
    # About a minute in all: a restarting server is back by then, a wrong address never.
    Cause.UNREACHABLE: Rule(6, 2.0, "tries again"),
    # Each time in pieces of half the size: ``RunContext.num_shrinks``.
    Cause.OUT_OF_MEMORY: Rule(5, 0.0, "starts again in smaller pieces, from its last checkpoint"),
    Cause.DISK_FULL: Rule(1, 0.0, "pauses until there is room and somebody resumes it", rests=True),
}
LONGEST_WAIT_SECONDS = 120.0


def remedy_for(cause: Cause | None, num_failures: int) -> Remedy | None:
    """Return what is done about a failure; None if the run fails.

    ``num_failures`` counts this one and those before it, since the last checkpoint.
    """
    rule = RULES.get(cause) if cause is not None else None
    if rule is not None and rule.rests:
        return Remedy(0.0, rule.remedy, rests=True)
    if rule is None or num_failures >= rule.most:
        return None
    seconds = min(rule.first_wait * 2.0 ** (num_failures - 1), LONGEST_WAIT_SECONDS)
    when = f" in {seconds:.0f} s" if seconds else ""
    return Remedy(seconds, f"{rule.remedy}{when} ({num_failures} of {rule.most - 1})")
