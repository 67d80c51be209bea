"""Laws of placement: who starts, who gives way, and that everybody has a turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.queue.placement import PlacedRun, Preempt, Start, WaitingRun, place

PRIORITIES = st.integers(-2, 2)  # few, so that runs meet their equals


@dataclass(frozen=True)
class Scene:
    """A pool at one moment."""

    waiting: list[WaitingRun]
    placed: list[PlacedRun]
    slots: list[str]  # alive
    pool_size: int

    def decide(self) -> list[Start | Preempt]:
        return place(self.waiting, self.placed, self.slots, self.pool_size)

    def free(self) -> set[str]:
        return set(self.slots) - {slot for run in self.placed for slot in run.slots}


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    pool_size = draw(st.integers(1, 6))
    names = [str(number) for number in range(pool_size)]
    alive = draw(st.lists(st.sampled_from(names), unique=True))
    taken = draw(st.lists(st.integers(0, pool_size), max_size=pool_size))
    placed, rest = [], list(names)
    for number, width in enumerate(taken):
        if width and width <= len(rest):
            slots, rest = tuple(rest[:width]), rest[width:]
            placed.append(
                PlacedRun(f"p{number}", draw(PRIORITIES), number, slots, draw(st.booleans()))
            )
    waiting = [
        WaitingRun(f"w{number}", draw(PRIORITIES), 100 + number, draw(st.integers(0, 8)))
        for number in range(draw(st.integers(0, 6)))
    ]
    return Scene(draw(st.permutations(waiting)), placed, alive, pool_size)


@given(scenes())
def test_no_slot_is_given_twice_nor_while_it_is_taken_or_dead(scene: Scene) -> None:
    given_slots = [slot for d in scene.decide() if isinstance(d, Start) for slot in d.slots]
    assert len(given_slots) == len(set(given_slots))
    assert set(given_slots) <= scene.free()


@given(scenes())
def test_a_run_gets_all_its_slots_or_is_not_started(scene: Scene) -> None:
    wishes = {run.run_id: min(run.workers, scene.pool_size) for run in scene.waiting}
    started = {d.run_id: len(d.slots) for d in scene.decide() if isinstance(d, Start)}
    assert started == {run_id: wishes[run_id] for run_id in started}


@given(scenes())
def test_nobody_is_started_twice(scene: Scene) -> None:
    started = [d.run_id for d in scene.decide() if isinstance(d, Start)]
    assert len(started) == len(set(started))
    assert set(started) <= {run.run_id for run in scene.waiting}


@given(scenes())
def test_coordinators_always_start(scene: Scene) -> None:
    started = {d.run_id for d in scene.decide() if isinstance(d, Start) and not d.slots}
    assert started == {run.run_id for run in scene.waiting if run.workers == 0}


@given(scenes())
def test_nobody_overtakes_a_more_urgent_or_older_run_that_waits_for_slots(scene: Scene) -> None:
    started = {d.run_id for d in scene.decide() if isinstance(d, Start)}
    in_order = sorted(
        (run for run in scene.waiting if run.workers), key=lambda r: (-r.priority, r.position)
    )
    answers = [run.run_id in started for run in in_order]
    assert answers == sorted(answers, reverse=True)


@given(scenes())
def test_no_slot_stays_free_that_the_first_in_line_could_use(scene: Scene) -> None:
    decisions = scene.decide()
    started = {d.run_id for d in decisions if isinstance(d, Start)}
    used = {slot for d in decisions if isinstance(d, Start) for slot in d.slots}
    left = [run for run in scene.waiting if run.workers and run.run_id not in started]
    if left:
        first = min(left, key=lambda r: (-r.priority, r.position))
        assert min(first.workers, scene.pool_size) > len(scene.free() - used)


@given(scenes())
def test_only_runs_of_lower_priority_give_way_and_each_is_asked_once(scene: Scene) -> None:
    victims = [d.run_id for d in scene.decide() if isinstance(d, Preempt)]
    assert len(victims) == len(set(victims))
    if victims:
        placed = {run.run_id: run for run in scene.placed}
        first = _first_left(scene)
        assert all(placed[v].priority < first.priority for v in victims)
        assert not any(placed[v].stopping for v in victims)


@settings(max_examples=1_000)
@given(scenes())
def test_who_gives_way_suffices_and_nobody_gives_way_in_vain(scene: Scene) -> None:
    victims = {d.run_id for d in scene.decide() if isinstance(d, Preempt)}
    if not victims:
        return
    first = _first_left(scene)
    used = {slot for d in scene.decide() if isinstance(d, Start) for slot in d.slots}
    missing = min(first.workers, scene.pool_size) - len(scene.free() - used)
    missing -= sum(len(run.slots) for run in scene.placed if run.stopping)
    widths = {run.run_id: len(run.slots) for run in scene.placed if run.run_id in victims}
    assert sum(widths.values()) >= missing
    for victim in victims:
        assert sum(widths.values()) - widths[victim] < missing, f"{victim} stopped in vain"


@given(scenes())
def test_the_order_in_which_runs_are_listed_decides_nothing(scene: Scene) -> None:
    mirrored = Scene(scene.waiting[::-1], scene.placed[::-1], scene.slots, scene.pool_size)
    assert set(scene.decide()) == set(mirrored.decide())


# -- a simulated pool ---------------------------------------------------------------------------


@dataclass
class SimulatedRun:
    """A run in the simulation: ``work`` ticks are left."""

    run_id: str
    arrives_at: int
    priority: int
    workers: int
    work: int
    position: int
    pauses_at: int | None = None  # a person pauses it then, and resumes it ten ticks later
    slots: tuple[str, ...] = ()
    running: bool = False
    stops_in: int | None = None  # ticks until it has noticed that it shall stop
    ended: bool = False

    def is_paused(self, now: int) -> bool:
        return self.pauses_at is not None and self.pauses_at <= now < self.pauses_at + 10


@dataclass
class SimulatedPool:
    """Slots that sometimes die for a few ticks, and the runs on them."""

    size: int
    runs: list[SimulatedRun]
    outages: dict[int, str] = field(default_factory=dict)  # tick -> slot that dies for 3 ticks
    now: int = 0

    def tick(self) -> None:
        alive = self._alive()
        self._let_go(alive)
        self._place(alive)
        self._check(alive)
        for run in self.runs:
            if run.running:
                run.work -= 1
                run.stops_in = run.stops_in - 1 if run.stops_in else run.stops_in
        self.now += 1

    def _alive(self) -> list[str]:
        dead = {self.outages[t] for t in range(self.now - 2, self.now + 1) if t in self.outages}
        return [str(n) for n in range(self.size) if str(n) not in dead]

    def _let_go(self, alive: list[str]) -> None:
        for run in self.runs:
            if not run.running:
                continue
            if run.is_paused(self.now) and run.stops_in is None:
                run.stops_in = 1
            is_lost = any(slot not in alive for slot in run.slots)
            if run.work <= 0 or run.stops_in == 0 or is_lost:
                run.ended = run.work <= 0
                run.running, run.slots, run.stops_in = False, (), None

    def _place(self, alive: list[str]) -> None:
        waiting = [
            WaitingRun(r.run_id, r.priority, r.position, r.workers)
            for r in self.runs
            if r.arrives_at <= self.now and not (r.ended or r.running or r.is_paused(self.now))
        ]
        placed = [
            PlacedRun(r.run_id, r.priority, r.position, r.slots, r.stops_in is not None)
            for r in self.runs
            if r.running and r.slots
        ]
        by_id = {run.run_id: run for run in self.runs}
        for decision in place(waiting, placed, alive, self.size):
            run = by_id[decision.run_id]
            if isinstance(decision, Preempt):
                run.stops_in = 2
            else:
                run.running, run.slots = True, decision.slots

    def _check(self, alive: list[str]) -> None:
        taken = [slot for run in self.runs for slot in run.slots]
        assert len(taken) == len(set(taken)), "two runs on a slot"
        assert set(taken) <= set(alive)
        for run in self.runs:
            if run.running:
                assert len(run.slots) == min(run.workers, self.size)


@st.composite
def simulated_pools(draw: st.DrawFn) -> SimulatedPool:
    size = draw(st.integers(1, 4))
    runs = [
        SimulatedRun(
            run_id=f"r{number}",
            arrives_at=draw(st.integers(0, 30)),
            priority=draw(st.integers(-2, 2)),
            workers=draw(st.integers(0, 5)),
            work=draw(st.integers(1, 8)),
            position=number,
            pauses_at=draw(st.none() | st.integers(0, 40)),
        )
        for number in range(draw(st.integers(1, 14)))
    ]
    names = st.sampled_from([str(number) for number in range(size)])
    return SimulatedPool(size, runs, draw(st.dictionaries(st.integers(0, 60), names, max_size=6)))


@settings(max_examples=150)
@given(simulated_pools())
def test_in_a_pool_with_arrivals_ends_pauses_and_outages_every_run_ends(
    pool: SimulatedPool,
) -> None:
    # All the work one after the other, with room for each interruption, is the worst there can be.
    longest = 150 + 4 * sum(run.work + 3 for run in pool.runs)
    while not all(run.ended for run in pool.runs):
        pool.tick()
        assert pool.now <= longest, [run.run_id for run in pool.runs if not run.ended]


def _first_left(scene: Scene) -> WaitingRun:
    started = {d.run_id for d in scene.decide() if isinstance(d, Start)}
    left = [run for run in scene.waiting if run.workers and run.run_id not in started]
    return min(left, key=lambda r: (-r.priority, r.position))
