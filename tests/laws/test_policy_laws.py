"""Laws of the policy: who starts, who gives way, and that everybody has a turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.queue.policy.free_slots import FreeSlots
from workbench.queue.policy.scheduler import (
    GROW_SECONDS,
    MOST_COORDINATORS,
    RECLAIM_SECONDS,
    STEADY_SECONDS,
    Scheduler,
)
from workbench.queue.policy.shares import names_of
from workbench.queue.policy.values import (
    AGING_SECONDS,
    Decision,
    Group,
    Limits,
    PlacedRun,
    Preempt,
    Resize,
    Start,
    WaitingRun,
    level_of,
)
from workbench.queue.simulation import Outage, SimulatedPool, SimulatedRun, Simulation

PRIORITIES = st.integers(-2, 2)  # few, so that runs meet their equals
NAMES = st.sampled_from(["ann", "bob", "eve"])
NOW = 1_000.0
TIMES = st.floats(0, NOW)


@dataclass(frozen=True)
class Scene:
    """A pool at one moment."""

    waiting: list[WaitingRun]
    placed: list[PlacedRun]
    hosts: dict[str, str]  # of the slots that are alive
    pool_size: int
    limits: Limits

    def scheduler(self) -> Scheduler:
        scheduler = Scheduler(self.limits)
        scheduler.set_slots(self.hosts, self.pool_size)
        for placed in self.placed:
            scheduler.adopt(placed, NOW)
        for run in self.waiting:
            scheduler.enqueue(run, NOW)
        return scheduler

    def decide(self) -> list[Decision]:
        return self.scheduler().decide(NOW)

    def starts(self) -> dict[str, tuple[str, ...]]:
        return {d.run_id: d.slots for d in self.decide() if isinstance(d, Start)}

    def victims(self) -> list[str]:
        """Return who gives way to the run that holds the reservation."""
        return [run_id for run_id, to in self._preempted() if to not in self.barred()]

    def swaps(self) -> list[tuple[str, str]]:
        """Return who gives way to whom among those whose quota is used up."""
        return [(run_id, to) for run_id, to in self._preempted() if to in self.barred()]

    def _preempted(self) -> list[tuple[str, str]]:
        return [
            (d.run_id, d.for_run) for d in self.decide() if not isinstance(d, Start) and d.for_run
        ]

    def gives(self) -> dict[str, int]:
        """Return how many slots others may have of each run that gives way."""
        slots = {placed.run.run_id: len(placed.slots) for placed in self.placed}
        keeps = {d.run_id: d.width for d in self.decide() if isinstance(d, Resize)}
        return {run_id: slots[run_id] - keeps.get(run_id, 0) for run_id, _ in self._preempted()}

    def barred(self) -> set[str]:
        """Return the waiting runs that quotas alone keep from starting."""
        held = held_by(self, {})
        quotas = self.limits.quotas
        return {
            run.run_id for run in self.waiting
            if any(held[name] + self.need(run) > quotas[name]
                   for name in names_of(run.group) if name in quotas)
        }  # fmt: skip

    def free(self) -> set[str]:
        return set(self.hosts) - {slot for placed in self.placed for slot in placed.slots}

    def need(self, run: WaitingRun) -> int:
        return max(1, min(run.least, self.pool_size))

    def first_left(self) -> WaitingRun:
        """Return who holds the reservation after the decision."""
        scheduler = self.scheduler()
        scheduler.decide(NOW)
        next_ones = [s for s in scheduler.standings(NOW) if s.reason.startswith("next:")]
        assert len(next_ones) == 1
        return next(run for run in self.waiting if run.run_id == next_ones[0].run_id)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    pool_size = draw(st.integers(1, 6))
    names = [str(number) for number in range(pool_size)]
    hosts = {name: f"host-{draw(st.integers(0, 2))}" for name in names}
    alive = draw(st.lists(st.sampled_from(names), unique=True))
    taken = draw(st.lists(st.integers(0, pool_size), max_size=pool_size))
    placed, rest = [], list(names)
    for number, width in enumerate(taken):
        if width and width <= len(rest):
            slots, rest = tuple(rest[:width]), rest[width:]
            run = _run(draw, f"p{number}", number)
            placed.append(
                PlacedRun(run, slots, *sorted([draw(TIMES), draw(TIMES)]), draw(st.booleans()))
            )
    waiting = [_run(draw, f"w{number}", 100 + number) for number in range(draw(st.integers(0, 6)))]
    quotas = draw(st.dictionaries(st.sampled_from(["ann", "bob/bob"]), st.integers(0, 4)))
    weights = draw(st.dictionaries(st.sampled_from(["ann", "bob"]), st.sampled_from([0.5, 2.0])))
    return Scene(
        draw(st.permutations(waiting)), placed, {name: hosts[name] for name in alive}, pool_size,
        Limits(weights, quotas),
    )  # fmt: skip


def _run(draw: st.DrawFn, run_id: str, position: int) -> WaitingRun:
    least = draw(st.integers(0, 8))
    return WaitingRun(
        run_id, position, draw(PRIORITIES), least, least and least + draw(st.integers(0, 3)),
        Group(draw(NAMES), draw(NAMES)), draw(st.sampled_from([0.0, 40.0, AGING_SECONDS, 1e5])),
        elastic=draw(st.booleans()),
    )  # fmt: skip


def held_by(scene: Scene, starts: dict[str, tuple[str, ...]]) -> Counter[str]:
    """Count the slots that projects and users hold after these starts."""
    held: Counter[str] = Counter()
    for run, slots in [
        *((placed.run, placed.slots) for placed in scene.placed),
        *((run, starts.get(run.run_id, ())) for run in scene.waiting),
    ]:
        held[run.group.project] += len(slots)
        held[f"{run.group.project}/{run.group.user}"] += len(slots)
    return held


@given(scenes())
def test_no_slot_is_given_twice_nor_while_it_is_taken_or_dead(scene: Scene) -> None:
    given_slots = [slot for slots in scene.starts().values() for slot in slots]
    assert len(given_slots) == len(set(given_slots))
    assert set(given_slots) <= scene.free()


@given(scenes())
def test_a_run_gets_what_it_needs_and_no_more_than_it_can_use(scene: Scene) -> None:
    runs = {run.run_id: run for run in scene.waiting}
    for run_id, slots in scene.starts().items():
        run = runs[run_id]
        if run.least:
            assert scene.need(run) <= len(slots) <= max(run.most, 1)


@given(scenes())
def test_nobody_is_started_twice(scene: Scene) -> None:
    started = [d.run_id for d in scene.decide() if isinstance(d, Start)]
    assert len(started) == len(set(started))
    assert set(started) <= {run.run_id for run in scene.waiting}


@given(scenes())
def test_coordinators_always_start_and_take_nothing(scene: Scene) -> None:
    started = {run_id for run_id, slots in scene.starts().items() if not slots}
    assert started == {run.run_id for run in scene.waiting if run.least == 0}


@given(scenes())
def test_no_quota_is_passed_by_what_starts(scene: Scene) -> None:
    starts = scene.starts()
    before, after = held_by(scene, {}), held_by(scene, starts)
    for name, quota in scene.limits.quotas.items():
        assert after[name] <= max(quota, before[name])


@given(scenes())
def test_of_one_users_equal_runs_the_older_is_never_passed_over_for_a_wider_one(
    scene: Scene,
) -> None:
    started = scene.starts()
    for older in scene.waiting:
        for younger in scene.waiting:
            is_equal = (older.group, older.priority, older.patience) == (
                younger.group, younger.priority, younger.patience
            )  # fmt: skip
            if is_equal and older.position < younger.position and older.least and younger.least:
                is_wider = scene.need(younger) >= scene.need(older)
                assert not (is_wider and younger.run_id in started and older.run_id not in started)


@given(scenes())
def test_no_slot_stays_free_that_somebody_could_use_but_for_who_waits_for_more(
    scene: Scene,
) -> None:
    starts = scene.starts()
    left = [run for run in scene.waiting if run.least and run.run_id not in starts]
    free = len(scene.free()) - sum(map(len, starts.values()))
    victims = scene.victims()
    coming = sum(len(p.slots) for p in scene.placed if p.stopping or p.run.run_id in victims)
    held = held_by(scene, starts)
    for run in left:
        names = (run.group.project, f"{run.group.project}/{run.group.user}")
        room = min((scene.limits.quotas[n] - held[n] for n in names if n in scene.limits.quotas),
                   default=scene.need(run))  # fmt: skip
        if scene.need(run) <= min(free, room):
            first = scene.first_left()
            assert scene.need(first) <= free + coming, "set aside without reason"
            assert free - max(0, scene.need(first) - coming) < scene.need(run)


@given(scenes())
def test_who_gives_way_is_less_urgent_or_has_more_than_its_share(scene: Scene) -> None:
    victims = scene.victims()
    assert len(victims) == len(set(victims))
    if not victims:
        return
    placed = {p.run.run_id: p for p in scene.placed}
    first = scene.first_left()
    weights = scene.limits.weights
    held = held_by(scene, scene.starts())
    resized = {d.run_id for d in scene.decide() if isinstance(d, Resize)}
    for victim in victims:
        assert not placed[victim].stopping
        if victim in resized:
            assert placed[victim].surplus
            assert placed[victim].level(NOW) <= level_of(first.priority, first.patience)
        elif placed[victim].level(NOW) >= first.priority:
            assert first.patience >= RECLAIM_SECONDS
            theirs, ours = placed[victim].run, first
            names = [(r.group.project, f"{r.group.project}/{r.group.user}") for r in (theirs, ours)]
            mine, yours = (pair[theirs.group.project == ours.group.project] for pair in names)
            assert mine != yours
            assert held[mine] / weights.get(mine, 1.0) > held[yours] / weights.get(yours, 1.0)


@settings(max_examples=1_000)
@given(scenes())
def test_who_gives_way_suffices_and_nobody_gives_way_in_vain(scene: Scene) -> None:
    victims = set(scene.victims())
    if not victims:
        return
    need = scene.need(scene.first_left())
    widths, gives = {p.run.run_id: len(p.slots) for p in scene.placed}, scene.gives()
    free = len(scene.free()) - sum(map(len, scene.starts().values()))
    coming = sum(widths[p.run.run_id] for p in scene.placed if p.stopping)
    to_come = free + coming + sum(gives[victim] for victim in victims)
    assert to_come >= need
    for victim in victims:
        assert to_come - gives[victim] < need, f"{victim} stopped in vain"


def test_slots_that_a_run_keeps_when_it_gives_up_others_are_lent_to_nobody() -> None:
    """One of ten thousand scenes: the run with a slot less would have found none at all."""
    ann = Group("ann", "ann")
    scheduler = Scheduler()
    scheduler.set_slots({str(number): "a" for number in range(6)}, 6)
    trains = WaitingRun("trains", 0, least=1, most=2, group=ann, elastic=True)
    scheduler.adopt(PlacedRun(trains, ("0", "1"), 0.0, 0.0), NOW)
    scheduler.adopt(PlacedRun(WaitingRun("works", 1, group=ann), ("2",), 0.0, 0.0), NOW)
    scheduler.enqueue(WaitingRun("wide", 2, least=4, most=4, group=ann), NOW)
    scheduler.enqueue(WaitingRun("small", 3, group=ann), NOW)
    assert scheduler.decide(NOW) == [Resize("trains", 1, "wide")]
    patience = scheduler.release("trains", NOW + 1)
    scheduler.enqueue(replace(trains, patience=patience), NOW + 1)
    starts = {d.run_id: len(d.slots) for d in scheduler.decide(NOW + 1) if isinstance(d, Start)}
    assert starts == {"wide": 4, "trains": 1}


@settings(max_examples=1_000)
@given(scenes())
def test_who_may_hold_no_more_slots_gives_way_to_own_more_urgent_work_and_never_in_vain(
    scene: Scene,
) -> None:
    placed, waiting = ({r.run_id: r for r in runs} for runs in (
        [p.run for p in scene.placed], scene.waiting))  # fmt: skip
    widths = {p.run.run_id: len(p.slots) for p in scene.placed}
    stopping = {p.run.run_id for p in scene.placed if p.stopping}
    held = held_by(scene, scene.starts())
    for favoured in {to for _, to in scene.swaps()}:
        urgent = waiting[favoured]
        victims = {run_id for run_id, to in scene.swaps() if to == favoured}
        assert all(placed[run_id].priority <= urgent.priority for run_id in victims)
        (name, *_) = [n for n in names_of(urgent.group) if n in scene.limits.quotas
                      and held[n] + scene.need(urgent) > scene.limits.quotas[n]]  # fmt: skip
        assert all(name in names_of(placed[run_id].group) for run_id in victims)
        own = {run_id for run_id, run in placed.items() if name in names_of(run.group)}
        others = {run_id for run_id, to in scene.swaps() if to != favoured} | stopping
        left = held[name] - sum(widths[run_id] for run_id in victims | (others & own))
        assert left + scene.need(urgent) <= scene.limits.quotas[name], "it suffices"


def test_a_user_at_the_quota_has_urgent_work_done_in_place_of_own_lesser_work() -> None:
    scheduler = Scheduler(Limits(quotas={"nlp/ann": 1}))
    scheduler.set_slots({"0": "a", "1": "a"}, 2)
    ann = Group("nlp", "ann")
    scheduler.enqueue(WaitingRun("lesser", 1, group=ann), 0.0)
    assert scheduler.decide(0.0) == [Start("lesser", ("0",))]
    scheduler.enqueue(WaitingRun("urgent", 2, priority=5, group=ann), 1.0)
    assert scheduler.decide(1.0) == [Preempt("lesser")]
    assert scheduler.decide(3.0) == [], "it was asked already"
    scheduler.release("lesser", 4.0)
    assert [d.run_id for d in scheduler.decide(4.0)] == ["urgent"]


def test_what_somebody_is_entitled_to_may_change_at_any_time() -> None:
    scheduler = Scheduler(Limits(quotas={"nlp": 0}))
    scheduler.set_slots({"0": "a"}, 1)
    scheduler.enqueue(WaitingRun("r", 1, group=Group("nlp", "ann")), 0.0)
    assert scheduler.decide(0.0) == []
    assert list(scheduler.within_quotas([WaitingRun("r", 1, group=Group("nlp", "ann"))])) == []
    scheduler.entitle(Limits())
    assert [d.run_id for d in scheduler.decide(1.0)] == ["r"]


@given(scenes())
def test_the_order_in_which_runs_are_listed_decides_nothing(scene: Scene) -> None:
    mirrored = replace(scene, waiting=scene.waiting[::-1], placed=scene.placed[::-1],
                       hosts=dict(reversed(scene.hosts.items())))  # fmt: skip
    assert sorted(map(repr, scene.decide())) == sorted(map(repr, mirrored.decide()))


# -- in virtual time ---------------------------------------------------------------------------


def runs_of(user: str, number: int, *, least: int = 1, seconds: float = 10.0, priority: int = 0,
            arrives_at: float = 0.0, first: int = 0) -> list[SimulatedRun]:  # fmt: skip
    return [
        SimulatedRun(
            WaitingRun(f"{user}-{first + n}", 0, priority, least, least, Group("default", user)),
            arrives_at, least * seconds,
        )
        for n in range(number)
    ]  # fmt: skip


def pool_of(size: int, **settings: Any) -> SimulatedPool:
    return SimulatedPool({str(n): f"host-{n // 4}" for n in range(size)}, **settings)


@st.composite
def loads(draw: st.DrawFn) -> tuple[list[SimulatedRun], SimulatedPool]:
    size = draw(st.integers(1, 6))
    runs = []
    for number in range(draw(st.integers(1, 14))):
        run = _run(draw, f"r{number}", number)
        arrival, work = draw(st.floats(0, 60)), draw(st.floats(0.1, 300))
        runs.append(SimulatedRun(replace(run, patience=0.0), arrival, work))
    slots = st.sampled_from([str(number) for number in range(size)])
    outages = draw(st.lists(st.builds(Outage, st.floats(0, 300), slots, st.floats(1, 30)),
                            max_size=5))  # fmt: skip
    weights = draw(st.dictionaries(NAMES, st.sampled_from([0.5, 2.0])))
    quotas = draw(st.dictionaries(st.sampled_from(["ann/bob", "eve"]), st.integers(8, 9)))
    pool = pool_of(size, limits=Limits(weights, quotas), save_seconds=5.0, outages=outages)
    return runs, pool


@settings(max_examples=200)
@given(loads())
def test_every_run_ends_whatever_comes_and_dies(
    load: tuple[list[SimulatedRun], SimulatedPool],
) -> None:
    runs, pool = load
    outcome = Simulation(runs, pool).run()
    # All work one after the other, with room for each outage and every urgent run, is the worst.
    work = sum(run.slot_seconds for run in runs) + 30 * len(pool.outages) + 5 * len(runs) ** 2
    assert outcome.ends.max() <= 400 + work
    assert (outcome.waits >= 0).all()
    assert outcome.use <= 1 + 1e-9


def test_a_wide_run_is_not_starved_by_narrow_ones_and_slots_do_not_idle_for_it() -> None:
    narrow = [
        one
        for second in range(200)
        for one in runs_of("ann", 4, seconds=9.5, arrives_at=second, first=second * 4)
    ]
    wide = runs_of("ann", 1, least=8, arrives_at=20.5, first=10_000)
    outcome = Simulation(narrow + wide, pool_of(8)).run()
    assert outcome.waits[-1] < 200  # about 80 narrow ones stood before it, ten seconds each
    assert outcome.use > 0.95


def test_a_stream_of_urgent_runs_does_not_keep_a_lesser_one_waiting_for_ever() -> None:
    urgent = [
        one
        for second in range(0, 20_000, 10)
        for one in runs_of("ann", 1, priority=10, seconds=10, arrives_at=second, first=second)
    ]
    lesser = runs_of("bob", 1, priority=0, arrives_at=5.0)
    outcome = Simulation(urgent + lesser, pool_of(1)).run()
    assert outcome.waits[-1] <= 11 * AGING_SECONDS


def test_two_users_get_alike_however_different_their_runs_are() -> None:
    many = runs_of("ann", 3_000, seconds=20)
    long_and_wide = runs_of("bob", 40, least=4, seconds=600)
    outcome = Simulation(many + long_and_wide, pool_of(16)).run()
    assert outcome.fairness is not None
    assert outcome.fairness > 0.95
    assert outcome.use > 0.95


def test_who_comes_later_soon_has_its_share_of_a_pool_that_another_has_filled() -> None:
    first = runs_of("ann", 16, seconds=5_000)
    later = runs_of("bob", 16, seconds=500, arrives_at=100)
    outcome = Simulation(first + later, pool_of(8)).run()
    assert sorted(outcome.waits[16:])[3] < 60
    # The four that gave way are the least that do, and none gives way again and again.
    assert outcome.num_preempted <= 8


def test_weights_decide_how_a_pool_is_shared() -> None:
    runs = runs_of("ann", 400) + runs_of("bob", 400)
    pool = pool_of(8, limits=Limits(weights={"default/ann": 3.0}))
    ends = Simulation(runs, pool).run().ends
    # Three quarters of the pool: ann's 400 runs of ten seconds take 400 * 10 / 6 seconds.
    assert ends[:400].max() == pytest.approx(400 * 10.1 / 6, rel=0.05)


def test_a_run_with_a_range_gets_what_there_is() -> None:
    run = SimulatedRun(WaitingRun("wide", 0, 0, 2, 6), 0.0, 60.0)
    busy = runs_of("ann", 4, seconds=100)
    alone = Simulation([run], pool_of(8)).run()
    beside = Simulation([*busy, run], pool_of(8)).run()
    assert alone.ends[0] == pytest.approx(60 / 6 + 0.1)
    assert beside.ends[-1] == pytest.approx(60 / 4 + 0.1)


def elastic_at_work(scheduler: Scheduler, width: int, *, most: int, least: int = 1) -> None:
    """Start an elastic run at second 0."""
    scheduler.enqueue(WaitingRun("wide", 1, least=least, most=most, elastic=True), 0.0)
    (start,) = scheduler.decide(0.0)
    assert isinstance(start, Start)
    assert len(start.slots) == width


def test_an_elastic_run_grows_into_slots_that_nobody_has_wanted_for_a_while() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({str(n): "host" for n in range(2)}, 2)
    elastic_at_work(scheduler, 2, most=4)
    scheduler.set_slots({str(n): "host" for n in range(5)}, 5)
    assert scheduler.decide(10.0) == []
    moment = scheduler.look_again_at(10.0)
    assert moment == max(10.0 + GROW_SECONDS, STEADY_SECONDS)
    assert scheduler.decide(moment - 0.1) == []
    assert scheduler.decide(moment) == [Resize("wide", 4)]
    assert scheduler.decide(moment + 0.1) == []  # once is enough
    scheduler.release("wide", moment + 0.2)
    scheduler.enqueue(WaitingRun("wide", 1, least=1, most=4, elastic=True), moment + 0.2)
    (start,) = scheduler.decide(moment + 0.2)
    assert isinstance(start, Start)
    assert len(start.slots) == 4
    assert scheduler.look_again_at(moment + 1) is None


def test_an_elastic_run_gives_what_it_can_do_without_to_who_is_as_urgent_and_goes_on() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({str(n): "host" for n in range(4)}, 4)
    elastic_at_work(scheduler, 4, most=8, least=2)
    scheduler.enqueue(WaitingRun("less-urgent", 2, priority=-1), 1.0)
    assert scheduler.decide(1.0) == []
    for position in (3, 4, 5):
        scheduler.enqueue(WaitingRun(f"n{position}", position), 2.0)
    assert scheduler.decide(2.0) == [Resize("wide", 2, "n3")]
    scheduler.release("wide", 2.1)
    scheduler.enqueue(WaitingRun("wide", 1, least=2, most=8, elastic=True), 2.1)
    started = {d.run_id: len(d.slots) for d in scheduler.decide(2.1) if isinstance(d, Start)}
    assert started == {"n3": 1, "wide": 2, "n4": 1}


def test_short_runs_that_come_and_go_do_not_have_an_elastic_run_resized_all_the_time() -> None:
    wide = SimulatedRun(WaitingRun("wide", 0, least=1, most=4, elastic=True), 0.0, 400.0)
    short = [
        SimulatedRun(WaitingRun(f"s{n}", n + 1), 20.0 + 4.0 * n, 2.0) for n in range(15)
    ]  # fmt: skip
    outcome = Simulation([wide, *short], pool_of(4)).run()
    assert max(outcome.waits[1:]) < 1.0  # nobody waits for what is to spare
    assert outcome.num_preempted <= 10
    assert outcome.ends[0] < 150.0  # at one slot it would be 400 s


def test_an_urgent_run_starts_as_soon_as_a_lesser_one_has_stopped() -> None:
    lesser = runs_of("ann", 2, seconds=1_000)
    urgent = runs_of("bob", 1, priority=10, arrives_at=50)
    outcome = Simulation(lesser + urgent, pool_of(2)).run()
    assert outcome.waits[-1] == pytest.approx(0.2)
    assert outcome.num_preempted == 1


def test_who_lost_least_since_its_checkpoint_gives_way() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({"0": "a", "1": "a"}, 2)
    for number in range(2):
        scheduler.enqueue(WaitingRun(f"r{number}", number), 0.0)
    scheduler.decide(0.0)
    scheduler.saved("r0", 90.0)
    scheduler.enqueue(WaitingRun("urgent", 9, priority=5), 100.0)
    assert scheduler.decide(100.0) == [Preempt("r0")]


def test_why_a_run_waits_is_told() -> None:
    scheduler = Scheduler(Limits(quotas={"small": 0}))
    scheduler.set_slots({"0": "a", "1": "a"}, 2)
    scheduler.enqueue(WaitingRun("now", 0), 0.0)
    scheduler.enqueue(WaitingRun("wide", 1, least=2, most=2), 0.0)
    scheduler.enqueue(WaitingRun("behind", 2, least=2, most=2), 0.0)
    scheduler.enqueue(WaitingRun("barred", 3, group=Group("small", "")), 0.0)
    scheduler.decide(0.0)
    told = {s.run_id: s.reason for s in scheduler.standings(0.0)}
    assert told == {
        "wide": "next: needs 2 slots at once, 1 free, 0 more coming free",
        "behind": "1 run before it; needs 2 slots at once, 1 free",
        "barred": "the quota of small is used up (0 of 0 slots held)",
    }


def test_more_urgent_work_goes_before_who_holds_the_reservation_and_borrows_nothing() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({"0": "a", "1": "a"}, 2)
    scheduler.enqueue(WaitingRun("running", 0), 0.0)
    scheduler.decide(0.0)
    scheduler.enqueue(WaitingRun("wide", 1, least=2, most=2), 1.0)
    assert scheduler.decide(1.0) == []
    scheduler.enqueue(WaitingRun("urgent", 2, priority=5), 2.0)
    assert [d.run_id for d in scheduler.decide(2.0)] == ["urgent"]
    scheduler.release("running", 3.0)
    assert scheduler.decide(3.0) == [], "who borrowed would have to give way"


def test_who_has_asked_for_much_early_has_no_advantage_over_who_comes_later() -> None:
    early = runs_of("ann", 600, seconds=10)
    later = runs_of("bob", 10, seconds=10, arrives_at=3_000)
    ends = Simulation(early + later, pool_of(1)).run().ends
    assert ends[600:].max() < 3_000 + 2 * 10 * 11, "they take turns"


def test_what_a_run_has_waited_protects_it_for_as_long_as_it_has_waited() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({"0": "a"}, 1)
    scheduler.enqueue(WaitingRun("patient", 0, patience=10 * AGING_SECONDS), 0.0)
    scheduler.decide(0.0)
    scheduler.enqueue(WaitingRun("urgent", 1, priority=9), 1.0)
    assert scheduler.decide(1.0) == []
    assert scheduler.decide(3 * AGING_SECONDS) == [Preempt("patient")]


def test_runs_lie_on_as_few_hosts_as_can_be_and_wide_gaps_stay_wide() -> None:
    slots = FreeSlots()
    slots.replace({**{f"a{n}": "a" for n in range(4)}, **{f"b{n}": "b" for n in range(2)}})
    assert slots.take(2) == ("b0", "b1")
    slots.give_back(("b0", "b1"))
    assert slots.take(3) == ("a0", "a1", "a2")
    assert slots.take(3) == ("b0", "b1", "a3")
    assert slots.count == 0


def test_of_the_coordinators_that_nobody_waits_for_only_so_many_work_at_a_time() -> None:
    scheduler = Scheduler()
    scheduler.set_slots({"0": "a"}, 1)
    for number in range(MOST_COORDINATORS + 2):
        scheduler.enqueue(WaitingRun(f"root-{number:02d}", number, least=0, most=0), 0.0)
    started = [decision.run_id for decision in scheduler.decide(0.0)]
    assert started == [f"root-{number:02d}" for number in range(MOST_COORDINATORS)]
    assert [(s.run_id, s.place) for s in scheduler.standings(1.0)] == [
        (f"root-{MOST_COORDINATORS}", 1), (f"root-{MOST_COORDINATORS + 1}", 2)
    ]  # fmt: skip
    scheduler.enqueue(WaitingRun("child", 99, least=0, most=0, is_child=True), 1.0)
    assert [d.run_id for d in scheduler.decide(1.0)] == ["child"], "its parent waits for it"
    scheduler.enqueue(WaitingRun("urgent", 100, priority=9, least=0, most=0), 2.0)
    scheduler.release("root-03", 2.0)
    assert [d.run_id for d in scheduler.decide(2.0)] == ["urgent"]
    adopting = Scheduler()
    for number in range(MOST_COORDINATORS):
        adopting.adopt(PlacedRun(WaitingRun(f"r{number}", number, least=0, most=0), ()), 0.0)
    adopting.enqueue(WaitingRun("next", 99, least=0, most=0), 0.0)
    assert adopting.decide(0.0) == []
    adopting.release("r5", 1.0)
    assert [d.run_id for d in adopting.decide(1.0)] == ["next"]
