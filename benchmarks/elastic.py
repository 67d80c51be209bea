"""How soon a gang of two ranks works, and how soon it works again after one of them was killed.

All hold the same MiniLM with a fresh head in float32, join over gloo and use one thread a rank.
Seconds on the clock, in turns, so that whatever else the machine does hits all.

- ``launch-*``: until both ranks have joined and hold the model. Ours counts from the submission of
  a run to a workspace whose pool has trained before; it reads and tokenises its (32) records on the
  way. ``torchrun`` counts from its start, as it keeps nothing warm; Ray Train from ``fit()`` on a
  cluster that has fitted before. Medians.
- ``recovery-*``: a training that makes checkpoints of weights and optimiser runs; one rank, either
  of them, gets SIGKILL at a random moment; until both have joined again, hold the state of the last
  checkpoint and have made a step. Whoever takes more than 60 s has hung; hangs are counted apart.
  The p99 is the nearest rank: of fewer than 100 kills, the longest.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from benchmarks._figures import print_figure
from benchmarks._gangs import HANG_SECONDS, NUM_RANKS, GangSystem, Hung
from benchmarks._own_gang import own_gangs
from benchmarks._peer_gangs import RayGangs, TorchrunGangs
from workbench.models.resolve import resolve_model

_BENCH = "elastic"
_MOST_SECONDS = 450.0  # of the small size; a busy machine kills less often in them
_REST_SECONDS = 4.0  # before a launch: Ray's cluster is busy for a while after each fit
_LONGEST_CALM_SECONDS = 3.0  # between the first step and the next kill; a checkpoint falls into it

Seconds = dict[str, list[float]]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    launches, rounds, kills = (15, 20, 10) if full else (3, 3, 4)
    deadline = math.inf if full else time.monotonic() + _MOST_SECONDS
    model = resolve_model("minilm", online=False)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        ours = stack.enter_context(own_gangs(folder, model))
        ray = stack.enter_context(closing(RayGangs(folder, model)))
        torchrun = TorchrunGangs(folder, model)
        systems: list[GangSystem] = [ours, torchrun, ray]
        _launch(systems, launches)
        _recovery(systems, rounds, kills, deadline)


def _launch(systems: Sequence[GangSystem], times: int) -> None:
    spent: Seconds = {system.name: [] for system in systems}
    for number in range(times + 1):
        for system in systems:
            time.sleep(_REST_SECONDS)
            seconds = system.launch()
            if number:  # the first fills the page cache and warms what stays warm
                spent[system.name].append(seconds)
    _tell("launch", spent, median)


def _recovery(systems: Sequence[GangSystem], rounds: int, kills: int, deadline: float) -> None:
    """Kill in rounds, each system in turn, as long as another round ends before the deadline."""
    dice = random.Random(0)
    spent: Seconds = {system.name: [] for system in systems}
    for _ in range(rounds):
        begun = time.monotonic()
        for system in systems:
            seconds = list(_recover(system, kills, dice))
            print(f"{system.name}: {[round(each, 2) for each in seconds]}", file=sys.stderr)
            spent[system.name] += seconds
        if 2 * time.monotonic() - begun > deadline:
            break
    for name, seconds in spent.items():
        num_hung = sum(map(math.isinf, seconds))
        print(json.dumps({"bench": _BENCH, "system": name, "kills": len(seconds),
                          "hangs": num_hung}), flush=True)  # fmt: skip
    _tell("recovery", spent, _p50)
    _tell("recovery-p99", spent, _p99)


def _recover(system: GangSystem, kills: int, dice: random.Random) -> Iterator[float]:
    """Yield the seconds of so many recoveries of one training; infinity for one that hung."""
    try:
        with system.training() as training:
            for _ in range(kills):
                time.sleep(dice.uniform(0, _LONGEST_CALM_SECONDS))
                yield training.kill(dice.randrange(NUM_RANKS))
    except Hung as error:
        print(f"{system.name}: {error}", file=sys.stderr)
        yield math.inf


def _tell(figure: str, spent: Seconds, summary: object) -> None:
    own, *peers = spent
    assert callable(summary)
    for peer in peers:
        short = peer.split()[0].lower()
        print_figure(_BENCH, f"{figure}-{short}", summary(spent[own]), summary(spent[peer]), peer,
                     "s")  # fmt: skip
    told = {name: [round(each, 2) for each in seconds] for name, seconds in spent.items()}
    print(f"{figure}: {told}", file=sys.stderr)


def _p50(seconds: Sequence[float]) -> float:
    return _percentile(seconds, 0.5)


def _p99(seconds: Sequence[float]) -> float:
    return _percentile(seconds, 0.99)


def _percentile(seconds: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of the recoveries that did not hang, infinity if none."""
    known = sorted(each for each in seconds if each < HANG_SECONDS)
    return known[math.ceil(share * len(known)) - 1] if known else math.inf
