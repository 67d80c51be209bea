"""The scheduling policy in virtual time, on loads from two users to a million runs.

Only the policy's own processor time is measured; running, stopping and saving pass on a virtual
clock. ``decisions`` are starts and preemptions.

- ``kueue``: the shape of Kueue's published performance baseline (kubernetes-sigs/kueue,
  test/performance/scheduler/configs/baseline): 5 cohorts of 6 queues, 15,000 workloads, each queue
  with a quota of 20 that may borrow 100. Its own figures there, on a real control plane: 351 s for
  all of it, 59 % of the quota in use; its scheduler's pace bounds it, as ours is bounded by the
  work alone.
- ``mixed``: two users with unlike loads (many small, long, wide and urgent runs) on 16 slots.
- ``large``: 1,000,000 runs of 100 users in 10 projects on 10,000 slots.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from benchmarks._figures import print_figure
from workbench.queue.policy.values import Group, Limits, WaitingRun
from workbench.queue.simulation import Outcome, SimulatedPool, SimulatedRun, Simulation

_BENCH = "simulate"
_SLOTS_PER_HOST = 8


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    kueue = list(_kueue_baseline())
    outcome = _run(kueue, 600, Limits(quotas=_kueue_quotas()))
    _tell("kueue", outcome)
    print_figure(_BENCH, "kueue-seconds", outcome.ends.max(), 351.1, "Kueue, real time", "s")
    for size, peer in (("large", 6.666), ("medium", 76.768), ("small", 215.468)):
        picked = [number for number, one in enumerate(kueue) if size in one.run.run_id]
        wait = float(outcome.waits[picked].mean())
        print_figure(_BENCH, f"kueue-wait-{size}", wait, peer, "Kueue, real time", "s, mean")
    _tell("mixed", _run(list(_mixed()), 16, Limits()))
    num_runs = 1_000_000 if full else 100_000
    _tell("large", _run(list(_large(num_runs)), 10_000, Limits()))


def _run(runs: list[SimulatedRun], num_slots: int, limits: Limits) -> Outcome:
    hosts = {str(n): f"host-{n // _SLOTS_PER_HOST}" for n in range(num_slots)}
    return Simulation(runs, SimulatedPool(hosts, limits)).run()


def _tell(load: str, outcome: Outcome) -> None:
    pace = outcome.decisions_per_second
    more = {"more_is_better": True}
    print_figure(_BENCH, f"{load}-use", outcome.use, 0.85, "floor", "share of slots", **more)
    if outcome.fairness is not None:
        print_figure(_BENCH, f"{load}-fairness", outcome.fairness, 0.95, "floor", "Jain", **more)
    print_figure(_BENCH, f"{load}-decisions", pace, 500, "floor", "decisions/s", **more)
    waits = np.percentile(outcome.waits, [50, 95])
    told = f"wait p50 {waits[0]:.1f} s, p95 {waits[1]:.1f} s, longest {outcome.waits.max():.0f} s"
    print(f"{load}: {told}; {outcome.num_preempted} preempted", file=sys.stderr)


def _kueue_baseline() -> Iterator[SimulatedRun]:
    kinds = (
        ("small", 350, 0.1, 0.2, 50, 1),
        ("medium", 100, 0.5, 0.5, 100, 5),
        ("large", 50, 1.2, 1.0, 200, 20),
    )  # name, number, seconds between two, seconds each, priority, slots
    for cohort in range(5):
        for queue in range(6):
            for name, number, interval, seconds, priority, width in kinds:
                for n in range(number):
                    run = WaitingRun(
                        f"{name}-{cohort}-{queue}-{n}", 0, priority, width, width,
                        Group(f"cohort-{cohort}", f"queue-{queue}"),
                    )  # fmt: skip
                    yield SimulatedRun(run, n * interval, width * seconds)


def _kueue_quotas() -> dict[str, int]:
    queues = {f"cohort-{c}/queue-{q}": 120 for c in range(5) for q in range(6)}
    return queues | {f"cohort-{c}": 120 for c in range(5)}


def _mixed() -> Iterator[SimulatedRun]:
    """Yield eight hours of work for 16 slots, in which one user asks for many small runs."""
    random = np.random.default_rng(1)
    for n in range(10_000):
        run = WaitingRun(f"small-{n}", 0, 0, 1, 1, group=Group("default", "ann"))
        yield SimulatedRun(run, random.uniform(0, 20_000), random.exponential(20.0))
    for n in range(60):
        width = int(random.choice([1, 2, 4]))
        run = WaitingRun(f"long-{n}", 0, 0, width, width, group=Group("default", "bob"))
        yield SimulatedRun(run, random.uniform(0, 10_000), width * random.uniform(600, 3_600))
    for n in range(20):
        run = WaitingRun(f"wide-{n}", 0, 0, 12, 16, group=Group("default", "bob"))
        yield SimulatedRun(run, random.uniform(0, 20_000), 12 * random.uniform(60, 300))
    for n in range(50):
        run = WaitingRun(
            f"urgent-{n}", 0, 10, 2, 2, group=Group("default", "ann" if n % 2 else "bob")
        )
        yield SimulatedRun(run, random.uniform(0, 25_000), 2 * 30.0)


def _large(num_runs: int) -> Iterator[SimulatedRun]:
    """Yield runs that come a little faster than 10,000 slots can do them."""
    random = np.random.default_rng(2)
    widths = random.choice([1, 2, 4, 8, 32], size=num_runs, p=[0.7, 0.12, 0.1, 0.07, 0.01])
    seconds = random.lognormal(3.5, 1.0, size=num_runs)  # half of them below 33 s
    urgent = random.random(num_runs) < 0.01
    users = random.zipf(1.5, size=num_runs) % 100
    span = float((widths * seconds).sum()) / 10_000 / 1.05
    arrivals = np.sort(random.uniform(0, span, num_runs))
    for n in range(num_runs):
        width, user = int(widths[n]), int(users[n])
        run = WaitingRun(
            f"r{n}",
            0,
            10 if urgent[n] else 0,
            width,
            width,
            Group(f"project-{user % 10}", f"user-{user}"),
        )
        yield SimulatedRun(run, float(arrivals[n]), width * float(seconds[n]))
