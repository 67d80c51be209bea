"""How soon a training gives its slots to somebody else, loses nothing, and goes on.

A MiniLM with a fresh head trains on two ranks. At random moments it is asked to pause and told to
go on; and an urgent run asks for the slots. No peer does either: Ray Train and torchrun stop a gang
by killing it. Seconds on the clock, medians (and the longest):

- ``asked-to-free``: from the wish to pause until the last slot is free, beside what it has to
  contain: a step and the save of a checkpoint, as that same training takes them.
- ``over``: the difference.
- ``urgent``: from the submission of an urgent run until it has the slots.
- ``resume``: from the word to go on until all ranks are ready, from the very step they had reached.
- ``lost``: steps that were done twice, or never.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._figures import print_seconds
from benchmarks._gangs import NUM_RANKS, await_sight
from benchmarks._own_gang import OwnGangs, own_gangs
from workbench.data.split.stage import SplitSpec
from workbench.models.resolve import resolve_model
from workbench.runs import Run

_BENCH = "preemption"
_URGENT = 100

Event = dict[str, Any]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    times = 40 if full else 12
    model = resolve_model("minilm", online=False)
    with tempfile.TemporaryDirectory() as scratch, own_gangs(Path(scratch), model) as ours:
        run = ours.submit_long()
        pauses = [_pause(run) for _ in range(times)]
        urgent = [_give_way(run, ours, number) for number in range(times)]
        run.cancel()
        events = _events(run)
    saves = [e["payload"]["save_seconds"] for e in events if "save_seconds" in e["payload"]]
    step = _step_seconds(events)
    free = [pause["free"] for pause in pauses]
    print_seconds(_BENCH, "asked-to-free", free, step=round(step, 4), save=round(median(saves), 4))
    print_seconds(_BENCH, "over", [pause["free"] - step - pause["save"] for pause in pauses])
    print_seconds(_BENCH, "urgent", urgent)
    print_seconds(_BENCH, "resume", [pause["resume"] for pause in pauses])
    steps = [e["payload"]["step"] for e in events if e["payload"].get("name") == "loss"]
    done = set(steps)
    lost = len(steps) - len(done) + max(steps) + 1 - len(done)
    print(json.dumps({"bench": _BENCH, "figure": "lost", "steps": len(steps), "ours": lost}))


def _pause(run: Run) -> dict[str, float]:
    """Pause and resume once; return how long each took, and the save in it."""
    seen = _work_for_a_while(run)
    run.pause()
    asked = _time_of(run, seen, "pausing")
    free = _time_of(run, seen, "paused")
    save = next(e for e in reversed(run.events(seen)) if "save_seconds" in e["payload"])
    seen = run.events(seen)[-1]["seq"]
    run.resume()
    again = _time_of(run, seen, "waiting")
    ready = await_sight(lambda: _find(run, seen, lambda e: "ready_seconds" in e["payload"]), "gang")
    return {"free": free - asked, "resume": ready["time"] - again,
            "save": save["payload"]["save_seconds"]}  # fmt: skip


def _give_way(run: Run, ours: OwnGangs, number: int) -> float:
    """Have an urgent run ask for all slots; return how long it waited for them."""
    _work_for_a_while(run)
    spec = SplitSpec(dataset=ours.dataset, seed=number, parts={"train": 0.8, "test": 0.2})
    urgent = ours.workspace.submit(spec, priority=_URGENT, workers=NUM_RANKS)
    return _time_of(urgent, 0, "running") - _time_of(urgent, 0, "waiting")


def _work_for_a_while(run: Run) -> int:
    """Return at a random moment at which the ranks work: the number of the newest event."""
    last = (run.events() or [{"seq": 0}])[-1]["seq"]
    await_sight(lambda: _find(run, last, lambda e: e["payload"].get("name") == "loss"), "step")
    time.sleep(random.uniform(0.0, 1.0))
    return int(_events(run)[-1]["seq"])


def _time_of(run: Run, after: int, state: str) -> float:
    def is_it(event: Event) -> bool:
        return event["kind"] == "state" and event["payload"].get("state") == state

    return float(await_sight(lambda: _find(run, after, is_it), state)["time"])


def _find(run: Run, after: int, is_it: Any) -> Event | None:
    return next(filter(is_it, run.events(after)), None)


def _events(run: Run) -> list[Event]:
    """Return the whole journal."""
    found: list[Event] = []
    while more := run.events(found[-1]["seq"] if found else 0):
        found += more
    return found


def _step_seconds(events: list[Event]) -> float:
    """Return the median time of a step, from the times at which several were told at once."""
    told: dict[float, int] = {}
    for event in events:
        if event["payload"].get("name") == "loss":
            told[round(event["time"], 2)] = event["payload"]["step"]
    times = sorted(told)
    pairs = pairwise(times)
    each = [(b - a) / (told[b] - told[a]) for a, b in pairs if b - a < 1 and told[b] > told[a]]
    return median(each)
