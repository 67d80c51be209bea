"""What may be deleted and what is cleared away, whatever the lineage looks like."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog.lineage import (
    Needs,
    Node,
    ancestors,
    descendants,
    plan_deletion,
    refusal,
)
from workbench.catalog.retention import SECONDS_A_DAY, Version, superseded

NOW = 1_000 * SECONDS_A_DAY


@dataclass(frozen=True)
class World:
    """A catalog and who needs what of it."""

    versions: tuple[Version, ...]
    needs: Needs

    @property
    def nodes(self) -> list[Node]:
        return [version.node for version in self.versions]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Make versions of a few names; parents are older ones, or one that is gone."""
    versions: list[Version] = []
    for number in range(draw(st.integers(1, 12))):
        known = [v.node.reference for v in versions] + ["gone@000000000000"]
        name = draw(st.sampled_from(["rows", "clean", "model"]))
        node = Node(
            f"{name}@{number:012x}",
            tuple(draw(st.lists(st.sampled_from(known), max_size=3, unique=True))),
            draw(st.integers(0, 1_000)),
        )
        age_days = draw(st.integers(0, 100))
        versions.append(Version(node, "dataset", name, NOW - age_days * SECONDS_A_DAY))
    references = [version.node.reference for version in versions]
    who = st.dictionaries(st.sampled_from(references), st.just(["x"]), max_size=2)
    pinned = draw(st.frozensets(st.sampled_from(references), max_size=2))
    return World(tuple(versions), Needs(draw(who), draw(who), draw(who), pinned))


@given(worlds(), st.integers(0, 120))
def test_what_is_needed_new_young_or_a_parent_of_what_stays_is_never_cleared_away(
    world: World, keep_days: int
) -> None:
    gone = {v.node.reference for v in superseded(world.versions, world.needs, NOW, keep_days)}
    stays = [v for v in world.versions if v.node.reference not in gone]
    assert gone.isdisjoint(ancestors(world.nodes, [v.node.reference for v in stays]))
    for reference in gone:
        assert world.needs.of(reference) == []
    for name in {v.name for v in world.versions}:
        newest = max(v.committed_at for v in world.versions if v.name == name)
        assert any(v.name == name and v.committed_at == newest for v in stays)
    assert all(
        NOW - v.committed_at >= keep_days * SECONDS_A_DAY
        for v in world.versions
        if v.node.reference in gone
    )


@given(worlds(), st.integers(0, 120))
def test_what_is_cleared_away_once_leaves_nothing_to_clear(world: World, keep_days: int) -> None:
    gone = superseded(world.versions, world.needs, NOW, keep_days)
    left = [v for v in world.versions if v not in gone]
    assert superseded(left, world.needs, NOW, keep_days) == []


@given(worlds())
def test_a_version_that_nothing_needs_and_that_has_no_kept_child_goes(world: World) -> None:
    gone = superseded(world.versions, world.needs, NOW, keep_days=10)
    roots = [
        v.node.reference
        for v in world.versions
        if world.needs.of(v.node.reference)
        or NOW - v.committed_at < 10 * SECONDS_A_DAY
        or v.committed_at == max(o.committed_at for o in world.versions if o.name == v.name)
    ]
    kept = ancestors(world.nodes, roots)
    assert {v.node.reference for v in gone} >= {n.reference for n in world.nodes} - kept


@given(worlds(), st.data())
def test_a_deletion_that_is_not_refused_leaves_no_child_without_its_parent(
    world: World, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(world.nodes))
    with_descendants = data.draw(st.booleans())
    plan = plan_deletion(world.nodes, target.reference, world.needs, with_descendants)
    goes = {node.reference for node in plan.goes}
    assert target.reference in goes
    if refusal(plan) is None:
        for node in world.nodes:
            assert node.reference in goes or goes.isdisjoint(node.parents)
        assert all(world.needs.of(reference) == [] for reference in goes)


@given(worlds(), st.data())
def test_a_refusal_names_every_cause_up_to_a_dozen(world: World, data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(world.nodes))
    plan = plan_deletion(world.nodes, target.reference, world.needs, with_descendants=False)
    error = refusal(plan)
    causes = [*plan.blockers, *plan.descendants]
    assert (error is None) == (causes == [])
    if error is not None:
        assert all(cause in error.where for cause in causes[:12])
        assert ("--with-descendants" in error.next_step) == (plan.descendants != ())


@given(worlds(), st.data())
def test_descendants_are_those_that_have_it_among_their_ancestors(
    world: World, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(world.nodes)).reference
    below = {node.reference for node in descendants(world.nodes, target)}
    assert below == {
        node.reference
        for node in world.nodes
        if node.reference != target and target in ancestors(world.nodes, [node.reference])
    }
