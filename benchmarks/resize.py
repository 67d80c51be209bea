"""How long a training stands still when it is given fewer workers, and when it grows again.

A MiniLM with a fresh head trains on one or two workers, as there are; another training comes, takes
one of them, and goes. ``gap``: from the last step with the old number of workers to the first with
the new one, by the times at which the steps are told; in it a ``save`` of the state, and the time
until the new ranks are ``ready``. ``lost``: steps that were done twice, or
never. ``apart``: how far the losses then are from those of a run of the same Spec that was left
alone on one worker, at most. No peer changes the size of a gang without killing it; see ``elastic``
for what that takes.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._figures import print_seconds
from benchmarks._gangs import await_sight
from benchmarks._own_gang import own_gangs
from workbench.models.resolve import resolve_model
from workbench.runs import Run
from workbench.train.train import TrainSpec

_BENCH = "resize"
_LONGEST = 60.0
_CALM = 600.0

Event = dict[str, Any]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    cycles = 8 if full else 3
    model = resolve_model("minilm", online=False)
    with tempfile.TemporaryDirectory() as scratch, own_gangs(Path(scratch), model) as ours:
        run = ours.submit_long(workers="1..2")
        _await_worlds(run, 1)
        for cycle in range(cycles):
            other = ours.submit_long(workers=1)
            _await_worlds(run, 2 * cycle + 2)
            time.sleep(2.0)
            other.cancel()
            _await_worlds(run, 2 * cycle + 3)
        time.sleep(2.0)
        run.cancel()
        run.wait(_LONGEST)
        events = _events(run)
        curve = _curve(events)
        calm = ours.workspace.submit(TrainSpec.parse(run.record()["spec"]), workers=1)
        await_sight(
            lambda: len(_curve(_events(calm))) >= len(curve) or None, "as many steps", _CALM
        )
        calm.cancel()
        alone = _curve(_events(calm.wait(_LONGEST)))
    facts = {
        name: round(median(_facts(events, fact)), 3)
        for name, fact in (("save", "save_seconds"), ("ready", "ready_seconds"))
    }
    print_seconds(_BENCH, "gap", _gaps(events), **facts)
    apart = max(abs(value - alone[step]) for step, value in curve.items())
    print(json.dumps({"bench": _BENCH, "figure": "apart", "steps": len(curve), "ours": apart}))
    steps = [e["payload"]["step"] for e in events if e["payload"].get("name") == "loss"]
    lost = len(steps) - len(set(steps)) + max(steps) + 1 - len(set(steps))
    print(json.dumps({"bench": _BENCH, "figure": "lost", "steps": len(steps), "ours": lost}))


def _curve(events: list[Event]) -> dict[int, float]:
    points = [e["payload"] for e in events if e["payload"].get("name") == "loss"]
    return {point["step"]: point["value"] for point in points}


def _await_worlds(run: Run, number: int) -> None:
    """Return when the run has trained with so many numbers of workers, one after the other."""

    def look() -> Event | None:
        events = _events(run)
        begun = [n for n, e in enumerate(events) if "world" in e["payload"]]
        if len(begun) < number:
            return None
        losses = (e for e in events[begun[number - 1] :] if e["payload"].get("name") == "loss")
        return next(losses, None)

    await_sight(look, f"step with the number of workers that is number {number}", _LONGEST)


def _facts(events: list[Event], name: str) -> list[float]:
    return [event["payload"][name] for event in events if name in event["payload"]]


def _gaps(events: list[Event]) -> list[float]:
    gaps = []
    last, is_new = 0.0, False
    for event in events:
        if "world" in event["payload"]:
            is_new = last > 0
        elif event["payload"].get("name") == "loss":
            if is_new:
                gaps.append(event["time"] - last)
                is_new = False
            last = event["time"]
    return gaps


def _events(run: Run) -> list[Event]:
    found: list[Event] = []
    while batch := run.events(found[-1]["seq"] if found else 0):
        found += batch
    return found
