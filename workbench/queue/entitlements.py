"""What projects and users are entitled to: how shares of the pool are cut, and the most of each.

A name is a project, or ``PROJECT/USER`` for one user in it. Where nothing is set, a share weighs 1
and holds any number of slots.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from workbench.catalog.database import METADATA
from workbench.catalog.quotas import check_project
from workbench.core.errors import SpecError
from workbench.queue.policy.values import Limits

ENTITLEMENTS = sa.Table(
    "entitlements",
    METADATA,
    sa.Column("name", sa.String(250), primary_key=True),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("most_slots", sa.Integer),  # at once; none: any number
    sa.Column("changed_at", sa.Float, nullable=False),
)

_MOST_WEIGHT = 1_000.0


@dataclass(frozen=True)
class Entitlement:
    """A name's weight among others, and the most slots that it may hold at once (None: any)."""

    name: str
    weight: float = 1.0
    most_slots: int | None = None

    def checked(self) -> Entitlement:
        """Return it.

        Raises:
            SpecError: the name is none, or a number makes no sense.
        """
        check_project(self.name.partition("/")[0])
        if "/" in self.name and not self.name.partition("/")[2].strip():
            raise SpecError(f"{self.name!r:.80} names no user", where="name",
                            next_step="Give a project, or PROJECT/USER.")  # fmt: skip
        if not 0 < self.weight <= _MOST_WEIGHT:
            raise SpecError(f"A weight of {self.weight:g} makes no sense", where="weight",
                            next_step=f"Give one above 0, at most {_MOST_WEIGHT:g}.")  # fmt: skip
        if self.most_slots is not None and self.most_slots < 0:
            raise SpecError(f"{self.most_slots} slots make no sense", where="most_slots",
                            next_step="Give a number of 0 or more, or leave it out.")  # fmt: skip
        return self

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def set_entitlement(connection: sa.Connection, wanted: Entitlement) -> None:
    """Set what a name is entitled to."""
    drop_entitlement(connection, wanted.name)
    values = {**wanted.to_json(), "changed_at": time.time()}
    connection.execute(sa.insert(ENTITLEMENTS).values(**values))


def drop_entitlement(connection: sa.Connection, name: str) -> None:
    """Let a name have what everybody has."""
    connection.execute(sa.delete(ENTITLEMENTS).where(ENTITLEMENTS.c.name == name))


def entitlements(connection: sa.Connection) -> list[Entitlement]:
    """Return all that is set, by name."""
    columns = (ENTITLEMENTS.c.name, ENTITLEMENTS.c.weight, ENTITLEMENTS.c.most_slots)
    rows = connection.execute(sa.select(*columns).order_by(ENTITLEMENTS.c.name))
    return [Entitlement(*row) for row in rows]


def limits_of(found: list[Entitlement]) -> Limits:
    """Return what the policy has to heed."""
    return Limits(
        weights={one.name: one.weight for one in found},
        quotas={one.name: one.most_slots for one in found if one.most_slots is not None},
    )
