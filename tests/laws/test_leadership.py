"""Laws of leadership: never two that both believe to lead, and always one again after a death.

Real time is simulated. Each daemon has a clock of its own, which began at any number and runs a
little too fast or too slow; and between any two steps of a daemon (a look at its clock, a statement
to the database) real time goes on, as it does in a process that is stopped for a while.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import Databases, new_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from workbench.catalog.database import Database
from workbench.core.errors import ResourceError
from workbench.queue.leadership import (
    DeposedError,
    Leadership,
    Lease,
    Sight,
    believes,
    look_at,
    may_take,
)

LEASE = 10.0
NUM_DAEMONS = 2
EACH = st.integers(0, NUM_DAEMONS - 1)
SECONDS = st.one_of(st.floats(0, 1.5 * LEASE), st.sampled_from([0.5, 4.0, 7.0, 11.5]))
# Pauses between two steps: mostly none, now and then longer than a lease.
PAUSES = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 3.0, 12.0]), min_size=6, max_size=6)
# What others do at each look at the clock: a daemon and whether it shows life, tries, or neither.
MEANWHILE = st.lists(
    st.tuples(EACH, st.sampled_from(["", "renew", "try_acquire"])), min_size=3, max_size=3
)


@dataclass
class World:
    """Real time, and what happens between the steps of whoever works now."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    meanwhile: list[Callable[[], Any]] = field(default_factory=list)

    def pause(self) -> None:
        self.now += self.pauses.pop() if self.pauses else 0.0

    def let_others_work(self) -> None:
        if self.meanwhile:
            deed, rest = self.meanwhile[0], self.meanwhile[1:]
            self.meanwhile = []  # others are not interrupted in their turn
            deed()
            self.meanwhile = rest


@dataclass
class Clock:
    """A monotonic clock that nobody has set and that does not run quite right."""

    world: World
    began_at: float
    speed: float

    def __call__(self) -> float:
        seen = self.began_at + self.speed * self.world.now
        self.world.pause()  # what it has seen may be old before it is used
        self.world.let_others_work()
        return seen


class LeaderLaws(RuleBasedStateMachine):
    """Daemons try, renew, give back, die, and are stopped at the worst moments."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.databases = databases

    @initialize(
        clocks=st.lists(
            st.tuples(st.floats(0, 1e6), st.floats(0.9, 1.1)),
            min_size=NUM_DAEMONS,
            max_size=NUM_DAEMONS,
        )
    )
    def open(self, clocks: list[tuple[float, float]]) -> None:
        self.root = new_folder()
        self.database = self.databases.empty(self.root)
        self.world = World()
        sa.event.listen(self.database.engine, "before_cursor_execute", self._pause)
        self.clocks = [Clock(self.world, *clock) for clock in clocks]
        self.num_born = 0
        self.daemons = [self._born(clock) for clock in self.clocks]
        self.leaders_of_terms: dict[int, str] = {}

    def _pause(self, *_event: Any) -> None:
        self.world.pause()

    def _born(self, clock: Clock) -> Leadership:
        self.num_born += 1
        return Leadership(
            self.database, "dispatcher", f"d{self.num_born}", lease_seconds=LEASE, clock=clock
        )

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.root)

    @rule(seconds=SECONDS)
    def time_goes_on(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(number=EACH, pauses=PAUSES, meanwhile=MEANWHILE)
    def try_acquire(
        self, number: int, pauses: list[float], meanwhile: list[tuple[int, str]]
    ) -> None:
        self._do(number, "try_acquire", pauses, meanwhile)

    @rule(number=EACH, pauses=PAUSES, meanwhile=MEANWHILE)
    def renew(self, number: int, pauses: list[float], meanwhile: list[tuple[int, str]]) -> None:
        self._do(number, "renew", pauses, meanwhile)

    @rule(number=EACH, pauses=PAUSES)
    def release(self, number: int, pauses: list[float]) -> None:
        self._do(number, "release", pauses, [])
        assert not self.daemons[number].may_lead()

    @rule(number=EACH)
    def die_and_begin_anew(self, number: int) -> None:
        self.daemons[number] = self._born(self.clocks[number])

    @rule(seconds=st.lists(st.floats(0.1, 3.0), min_size=30, max_size=30))
    def when_all_keep_trying_one_leads_within_a_lease_or_two(self, seconds: list[float]) -> None:
        for pause in [*seconds, *[1.0] * 20]:
            self.world.now += pause
            if any(daemon.try_acquire() for daemon in self.daemons):
                return
        raise AssertionError("nobody leads")

    def _do(
        self, number: int, verb: str, pauses: list[float], meanwhile: list[tuple[int, str]]
    ) -> None:
        self.world.pauses = list(pauses)
        self.world.meanwhile = [
            getattr(self.daemons[other], other_verb) if other_verb and other != number else int
            for other, other_verb in meanwhile
        ]
        getattr(self.daemons[number], verb)()
        self.world.pauses, self.world.meanwhile = [], []

    @precondition(lambda self: hasattr(self, "daemons"))
    @invariant()
    def no_two_believe_to_lead_and_no_term_is_led_by_two(self) -> None:
        leaders = [daemon for daemon in self.daemons if daemon.may_lead()]
        assert len(leaders) <= 1
        for leader in leaders:
            holder = self.leaders_of_terms.setdefault(leader.term, leader._holder)
            assert holder == leader._holder

    @precondition(lambda self: hasattr(self, "daemons"))
    @invariant()
    def who_leads_is_let_in_and_a_deposed_one_is_not(self) -> None:
        lease = self.daemons[0].leader()
        for daemon in self.daemons:
            is_let_in = _is_let_in(daemon)
            assert is_let_in or not daemon.may_lead()
            assert not is_let_in or daemon._holder == lease.holder


def _is_let_in(daemon: Leadership) -> bool:
    try:
        with daemon._database.write() as connection:
            daemon.check(connection)
    except DeposedError:
        return False
    return True


def test_leadership_keeps_its_laws(databases: Databases) -> None:
    how_long = settings(
        max_examples=2 * databases.num_examples, stateful_step_count=25, deadline=None
    )
    run_state_machine_as_test(lambda: LeaderLaws(databases), settings=how_long)


# -- the pure part --------------------------------------------------------------------------------


@given(
    lease_seconds=st.floats(0.1, 1e4),
    asked_at=st.floats(0, 1e6),
    written_after=st.floats(0, 1e3),
    seen_after=st.floats(0, 1e3),
    speeds=st.tuples(st.floats(0.9, 1.1), st.floats(0.9, 1.1)),
    share=st.floats(0, 3),
)
def test_who_may_take_a_lease_is_later_than_who_believes_in_it(
    lease_seconds: float, asked_at: float, written_after: float, seen_after: float,
    speeds: tuple[float, float], share: float,
) -> None:  # fmt: skip
    holders, observers = speeds
    seen_at = asked_at + written_after + seen_after
    sight = look_at(Lease("a", 1, 1), None, observers * seen_at)
    now = seen_at + share * lease_seconds
    if may_take(look_at(Lease("a", 1, 1), sight, observers * now), "b", observers * now,
                lease_seconds):  # fmt: skip
        assert not believes(holders * asked_at, holders * now, lease_seconds)


def test_a_change_of_anything_is_a_sign_of_life() -> None:
    seen = Sight(Lease("a", 1, 1), since=5.0)
    assert look_at(Lease("a", 1, 1), seen, 9.0) == seen
    for changed in (Lease("a", 1, 2), Lease("a", 2, 1), Lease("b", 1, 1)):
        assert look_at(changed, seen, 9.0) == Sight(changed, since=9.0)


# -- examples -------------------------------------------------------------------------------------


@pytest.fixture
def database(databases: Databases, tmp_path: Path) -> Iterator[Database]:
    opened = databases.empty(tmp_path / "workspace")
    yield opened
    opened.close()


@pytest.fixture
def world() -> World:
    return World()


def daemon(database: Database, world: World, holder: str) -> Leadership:
    clock = Clock(world, began_at=1000.0 * len(holder), speed=1.0)
    return Leadership(
        database, "dispatcher", holder, f"http://{holder}", lease_seconds=LEASE, clock=clock
    )


def test_the_first_one_leads_and_tells_where_it_can_be_asked(
    database: Database, world: World
) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.leader() == Lease("", 0, 0)
    assert first.try_acquire()
    assert not second.try_acquire()
    assert second.leader() == Lease("a", 1, 1, "http://a")
    assert (first.term, second.term) == (1, 0)


def test_a_holder_that_renews_is_never_deposed(database: Database, world: World) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.try_acquire()
    for _ in range(50):
        world.now += first.beat_seconds
        assert first.renew()
        assert not second.try_acquire()
    assert first.term == 1


def test_the_next_one_takes_over_a_lease_after_it_has_first_seen_the_dead_one(
    database: Database, world: World
) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.try_acquire()
    world.now += 100 * LEASE  # how long the first is dead already, the second cannot know
    assert not second.try_acquire()
    world.now += LEASE - 0.1
    assert not second.try_acquire()
    world.now += 0.1
    assert second.try_acquire()
    assert second.leader() == Lease("bb", 2, 2, "http://bb")


def test_a_lease_that_is_given_back_is_taken_at_once(database: Database, world: World) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert not first.may_lead()
    assert second.try_acquire()
    assert second.term == 2
    first.release()  # again: it takes nothing away from the second
    assert second.renew()


def test_a_holder_that_cannot_renew_in_time_deposes_itself(
    database: Database, world: World
) -> None:
    first = daemon(database, world, "a")
    assert first.try_acquire()
    world.now += 0.74 * LEASE
    assert first.may_lead()
    world.now += 0.02 * LEASE
    assert (first.may_lead(), first.term, first.renew()) == (False, 0, False)
    assert first.try_acquire()  # nobody else has: but what it led before is over
    assert first.term == 2


def test_a_deposed_holder_is_refused_even_if_its_own_clock_stood_still(
    database: Database, world: World
) -> None:
    asleep = World()
    first, second = daemon(database, asleep, "a"), daemon(database, world, "bb")
    assert first.try_acquire()
    assert not second.try_acquire()
    world.now += LEASE
    assert second.try_acquire()
    assert first.may_lead()  # which is why a transaction asks the row
    with pytest.raises(DeposedError, match="a does not lead"):  # noqa: SIM117
        with database.write() as connection:
            first.check(connection)
    assert not first.renew()
    assert not first.may_lead()
    with database.write() as connection:
        second.check(connection)


def test_an_observer_that_is_stopped_while_it_looks_takes_nothing_from_the_living(
    database: Database, world: World
) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.try_acquire()

    @sa.event.listens_for(database.engine, "before_cursor_execute", once=True)
    def stop_before_reading(*_event: Any) -> None:
        world.now += 1.2 * LEASE
        assert first.try_acquire()

    assert not second.try_acquire()
    world.now += 0.1
    assert not second.try_acquire()
    assert first.may_lead()


def test_a_holder_that_is_stopped_while_it_renews_believes_from_when_it_began(
    database: Database, world: World
) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    assert first.try_acquire()
    assert not second.try_acquire()

    @sa.event.listens_for(database.engine, "commit", once=True)
    def stop_after_writing(*_event: Any) -> None:
        world.now += LEASE / 2

    assert first.renew()
    assert not second.try_acquire()
    world.now += LEASE / 2
    assert not first.may_lead()


def test_a_renewal_that_fails_leaves_the_belief_to_the_clock(
    database: Database, world: World
) -> None:
    class Broken(Database):
        def write(self, *, is_fenced: bool = True) -> Any:
            raise ResourceError("The database does not answer")

    first = daemon(database, world, "a")
    assert first.try_acquire()
    first._database = Broken("sqlite://")
    world.now += 0.5 * LEASE
    with pytest.raises(ResourceError):
        first.renew()
    assert first.may_lead()
    world.now += 0.3 * LEASE
    assert not first.may_lead()
    assert not first.renew()


def test_leases_of_other_names_are_others(database: Database, world: World) -> None:
    first, second = daemon(database, world, "a"), daemon(database, world, "bb")
    second._name = "deployments"
    assert first.try_acquire()
    assert second.try_acquire()
