"""What depends on what, and what may therefore be deleted: pure functions over plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workbench.core.errors import SpecError

_MOST_TOLD = 12


@dataclass(frozen=True)
class Node:
    """An artifact as lineage sees it. References are exact: ``name@version``."""

    reference: str
    parents: tuple[str, ...] = ()
    num_bytes: int = 0


@dataclass(frozen=True)
class Needs:
    """Who, other than artifacts made from it, needs a version: reference -> names of theirs."""

    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    deployments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)  # that are not over
    pinned: frozenset[str] = frozenset()

    def but_for(self, run_id: str) -> Needs:
        """Return what is needed by all but one run: it gives up what its own children have made."""
        runs = {each: [r for r in names if r != run_id] for each, names in self.runs.items()}
        return replace(self, runs=runs)

    def of(self, reference: str) -> list[str]:
        """Return what needs a version, in words."""
        return [
            *(f"alias {name}" for name in self.aliases.get(reference, ())),
            *(f"deployment {name}" for name in self.deployments.get(reference, ())),
            *(f"run {name}, which is not over" for name in self.runs.get(reference, ())),
            *(["a pin"] if reference in self.pinned else []),
        ]

    def remedies(self, reference: str) -> list[str]:
        """Return the commands that end what needs a version, in the order of ``of``."""
        return [
            *(f"workbench artifacts unalias {name}" for name in self.aliases.get(reference, ())),
            *(f"workbench deployments --stop {n}" for n in self.deployments.get(reference, ())),
            *(f"workbench runs cancel {name}" for name in self.runs.get(reference, ())),
            *([f"workbench artifacts unpin {reference}"] if reference in self.pinned else []),
        ]


@dataclass(frozen=True)
class Deletion:
    """What would go, the wanted one first, and what stands in the way."""

    goes: tuple[Node, ...]
    blockers: tuple[str, ...]
    descendants: tuple[str, ...]  # made from it, and not asked to go too
    remedies: tuple[str, ...] = ()  # commands that take the blockers out of the way

    @property
    def num_bytes(self) -> int:
        """The room that becomes free."""
        return sum(node.num_bytes for node in self.goes)


def descendants(nodes: Iterable[Node], reference: str) -> list[Node]:
    """Return all that was made from a version, directly or not, nearest first."""
    children: dict[str, list[Node]] = {}
    for node in nodes:
        for parent in node.parents:
            children.setdefault(parent, []).append(node)
    found: dict[str, Node] = {}
    frontier = [reference]
    while frontier:
        near = [c for parent in frontier for c in children.get(parent, ())]
        fresh = {c.reference: c for c in near if c.reference not in found}
        fresh.pop(reference, None)  # the same bytes can be made from themselves
        found.update(fresh)
        frontier = list(fresh)
    return list(found.values())


def ancestors(nodes: Iterable[Node], references: Iterable[str]) -> set[str]:
    """Return these references and all that they were made from, directly or not."""
    parents = {node.reference: node.parents for node in nodes}
    found: set[str] = set()
    frontier = list(references)
    while frontier:
        reference = frontier.pop()
        if reference not in found:
            found.add(reference)
            frontier += parents.get(reference, ())
    return found


def plan_deletion(
    nodes: Sequence[Node], reference: str, needs: Needs, with_descendants: bool
) -> Deletion:
    """Decide what goes when a version is deleted, and what is in the way of that."""
    target = next(node for node in nodes if node.reference == reference)
    below = descendants(nodes, reference)
    goes = (target, *below) if with_descendants else (target,)
    left = () if with_descendants else tuple(node.reference for node in below)
    blockers = [f"{n.reference} by {what}" for n in goes for what in needs.of(n.reference)]
    remedies = dict.fromkeys(step for n in goes for step in needs.remedies(n.reference))
    return Deletion(goes, tuple(blockers), left, tuple(remedies))


def refusal(plan: Deletion) -> SpecError | None:
    """Return why a deletion must not be done; None if it may."""
    reference = plan.goes[0].reference
    if not plan.blockers and not plan.descendants:
        return None
    num_reasons = len(plan.blockers) + len(plan.descendants)
    told = [_listed(label, texts) for label, texts in
            (("needed", plan.blockers), ("made from it", plan.descendants)) if texts]  # fmt: skip
    steps = []
    if plan.blockers:
        steps.append(_listed("End what needs it", plan.remedies))
    if plan.descendants:
        steps.append(f"To delete what was made from it too: "
                     f"workbench artifacts delete {reference} --with-descendants")  # fmt: skip
    return SpecError(
        f"{reference} cannot be deleted: {num_reasons} "
        f"{'thing depends' if num_reasons == 1 else 'things depend'} on it",
        where="; ".join(told),
        next_step=". ".join(steps),
    )


def _listed(label: str, texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_TOLD} more" if len(texts) > _MOST_TOLD else ""
    return f"{label}: {', '.join(texts[:_MOST_TOLD])}{more}"
