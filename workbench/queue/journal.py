"""The journal: what happened to each run, in order, never rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from workbench.core.json_text import json_text
from workbench.queue.tables import EVENTS

# Cut here rather than refused: a stage may log a whole document by mistake.
_LONGEST_PAYLOAD = 20_000
MOST_EVENTS = 2_000  # in one answer


def append_events(
    connection: sa.Connection, run_id: str, events: Iterable[Mapping[str, Any]]
) -> None:
    """Append events ({kind, time, payload}) with the next sequence numbers."""
    last = connection.scalar(sa.select(sa.func.max(EVENTS.c.seq)).where(EVENTS.c.run_id == run_id))
    records = [
        {
            "run_id": run_id,
            "seq": seq,
            "time": event["time"],
            "kind": event["kind"],
            "payload": _as_text(event["payload"]),
        }
        for seq, event in enumerate(events, start=(last or 0) + 1)
    ]
    if records:
        connection.execute(sa.insert(EVENTS), records)


def read_events(
    connection: sa.Connection, run_id: str, after: int = 0, limit: int = MOST_EVENTS
) -> list[dict[str, Any]]:
    """Return at most ``limit`` events with a sequence number above ``after``, in order."""
    query = (
        sa.select(EVENTS)
        .where(EVENTS.c.run_id == run_id, EVENTS.c.seq > after)
        .order_by(EVENTS.c.seq)
        .limit(limit)
    )
    return [
        {**row._mapping, "payload": json.loads(row.payload)} for row in connection.execute(query)
    ]


def _as_text(payload: object) -> str:
    text = json_text(payload)
    if len(text) <= _LONGEST_PAYLOAD:
        return text
    return json.dumps({"message": text[:_LONGEST_PAYLOAD], "cut": True}, ensure_ascii=False)
