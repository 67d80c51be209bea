"""Laws of the pool's size: it grows for who waits, shrinks with patience, and stays in bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.queue.policy.size import Change, Demand, HostLoad, SizeLimits, Sizer


@dataclass
class Pool:
    """A pool that does what the sizer says, at once."""

    sizer: Sizer
    hosts: dict[str, HostLoad] = field(default_factory=dict)
    now: float = 0.0
    num_named: int = 0

    def add(self, num_held: int = 0, *, permanent: bool = False) -> None:
        self.num_named += 1
        slots = self.sizer.limits.slots_per_host
        self.hosts[f"h{self.num_named:03d}"] = HostLoad(slots, num_held, permanent=permanent)

    def look(self, seconds: float, *demands: Demand, num_coming: int = 0) -> Change:
        self.now += seconds
        change = self.sizer.look(self.now, self.hosts, num_coming, demands)
        for _ in range(change.start):
            self.add()
        for name in change.drain:
            host = self.hosts[name]
            self.hosts[name] = HostLoad(host.num_slots, host.num_held, draining=True)
        for name in change.keep:
            host = self.hosts[name]
            self.hosts[name] = HostLoad(host.num_slots, host.num_held)
        for name in change.release:
            del self.hosts[name]
        return change

    def hold(self, name: str, num: int) -> None:
        host = self.hosts[name]
        self.hosts[name] = HostLoad(host.num_slots, num, host.draining, host.permanent)


def pool_of(least: int, most: int, slots: int = 2, *, held: tuple[int, ...] = ()) -> Pool:
    pool = Pool(Sizer(SizeLimits(least, most, slots, grow_seconds=5, shrink_seconds=60)))
    for num in held:
        pool.add(num)
    return pool


LIMITS = st.builds(
    lambda least, more, slots: (least, least + more, slots),
    st.integers(0, 3), st.integers(0, 4), st.integers(1, 4),
)  # fmt: skip
DEMANDS = st.lists(
    st.builds(
        lambda least, more, waited: Demand(least, least + more, waited),
        st.integers(1, 12), st.integers(0, 4), st.floats(0, 100),
    ),
    max_size=6,
)  # fmt: skip


@given(limits=LIMITS, looks=st.lists(st.tuples(st.floats(0, 50), DEMANDS), max_size=20))
def test_a_pool_stays_within_its_bounds_and_gives_up_no_slot_that_is_held(
    limits: tuple[int, int, int], looks: list[tuple[float, list[Demand]]]
) -> None:
    pool = pool_of(*limits, held=(0,) * limits[0])
    for number, (seconds, demands) in enumerate(looks):
        for place, name in enumerate(sorted(pool.hosts)):
            if not pool.hosts[name].draining:
                pool.hold(name, (number * 7 + place) % (limits[2] + 1))
        held_before = {name for name, host in pool.hosts.items() if host.num_held}
        change = pool.look(seconds, *demands)
        assert limits[0] <= sum(not h.draining for h in pool.hosts.values()) <= limits[1]
        assert len(pool.hosts) <= limits[1]
        assert not held_before & set(change.release)
        assert len(change.drain) <= 1


@given(limits=LIMITS, demands=DEMANDS)
def test_nobody_waits_for_ever_whom_the_largest_pool_could_hold(
    limits: tuple[int, int, int], demands: list[Demand]
) -> None:
    pool = pool_of(*limits, held=(0,) * limits[0])
    pool.look(1, *[Demand(d.least, d.most, 60.0) for d in demands])
    slots = len(pool.hosts) * limits[2]
    wanted = sum(d.least for d in demands)
    assert slots >= min(wanted, limits[1] * limits[2])


@given(waited=st.floats(0, 4.9))
def test_a_run_that_has_just_come_starts_no_host(waited: float) -> None:
    assert pool_of(1, 4, held=(2,)).look(1, Demand(2, 2, waited)) == Change()


def test_hosts_that_are_on_their_way_are_not_started_again() -> None:
    pool = pool_of(1, 4, held=(2,))
    assert pool.look(1, Demand(4, 4, 60), num_coming=2) == Change()


def test_a_pool_shrinks_one_by_one_and_only_after_its_patience() -> None:
    pool = pool_of(1, 4, held=(1, 0, 0))
    assert pool.look(0) == Change()
    assert pool.look(59) == Change()
    assert pool.look(1.5).drain == ("h002",)
    assert pool.look(1).release == ("h002",)
    assert pool.look(30) == Change()
    assert pool.look(40).drain == ("h003",)
    pool.look(1)
    for _ in range(10):
        assert pool.look(100) == Change(), "the least stays"


def test_work_that_comes_back_for_a_moment_begins_the_patience_anew() -> None:
    pool = pool_of(1, 4, held=(0, 0))
    pool.look(0)
    pool.look(50)
    pool.hold("h001", 2)
    pool.hold("h002", 1)
    pool.look(5)
    pool.hold("h001", 0)
    pool.hold("h002", 0)
    pool.look(1)
    assert pool.look(50) == Change()
    assert pool.look(11).drain


def test_a_half_empty_host_is_drained_and_released_once_its_runs_have_moved() -> None:
    pool = pool_of(1, 4, slots=4, held=(2, 1))
    pool.look(0)
    assert pool.look(61).drain == ("h002",)
    assert pool.look(1) == Change(), "it still holds a slot"
    pool.hold("h001", 3)
    pool.hold("h002", 0)
    assert pool.look(1).release == ("h002",)


def test_a_host_that_is_draining_is_kept_when_it_is_needed_after_all() -> None:
    pool = pool_of(1, 4, held=(2, 1))
    pool.hold("h002", 0)
    pool.look(0)
    pool.look(61)
    change = pool.look(1, Demand(1, 1, 30))
    assert (change.keep, change.start) == (("h002",), 0)


def test_a_permanent_host_is_never_drained() -> None:
    pool = pool_of(1, 4)
    pool.add(0, permanent=True)
    pool.add(2)
    pool.look(0)
    assert pool.look(61).drain == ("h002",)


@pytest.mark.parametrize("limits", [(2, 1, 1), (-1, 1, 1), (0, 1, 0)])
def test_impossible_limits_are_refused(limits: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible limits"):
        SizeLimits(*limits)


def test_a_pool_grows_for_who_has_worked_long_with_few_slots() -> None:
    limits = SizeLimits(1, 4, 2, grow_seconds=5, slow_seconds=600, shrink_seconds=60)
    pool = Pool(Sizer(limits))
    pool.add(2)
    wish = Demand(6, 6, 0.0, is_at_work=True)
    assert pool.look(0, replace(wish, waited_seconds=599)) == Change()
    assert pool.look(1, replace(wish, waited_seconds=600)).start == 3
    assert len(pool.hosts) == 4
    assert pool.look(1, replace(wish, waited_seconds=700)).start == 0, "no more than there may be"
