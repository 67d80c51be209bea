"""The queue's tables, with a comment for each field."""

from __future__ import annotations

import sqlalchemy as sa

from workbench.catalog.database import METADATA

RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),  # order of submission
    sa.Column("run_id", sa.String(40), nullable=False, unique=True),  # chosen by who submits
    sa.Column("parent_run_id", sa.String(40)),  # the coordinator that waits for this run
    sa.Column("stage", sa.String(80), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),  # canonical JSON, references resolved
    sa.Column("cache_key", sa.String(64)),  # None: must never be taken from the cache
    sa.Column("coordinator", sa.Boolean, nullable=False),  # takes no slot
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("workers", sa.Integer, nullable=False),  # most slots it may use
    sa.Column("state", sa.String(16), nullable=False),  # a RunState
    sa.Column("preempted", sa.Boolean, nullable=False),  # asked to give way to a more urgent run
    sa.Column("cached", sa.Boolean, nullable=False),  # its outputs are an earlier run's
    sa.Column("term", sa.Integer, nullable=False),  # number of starts; fences older attempts
    sa.Column("losses", sa.Integer, nullable=False),  # attempts lost since the last checkpoint
    sa.Column("not_before", sa.Float),  # it waits until then: the remedy of a failure wants time
    sa.Column("submitted_by", sa.String(120), nullable=False),
    sa.Column("submitted_at", sa.Float, nullable=False),  # seconds since 1970, as all times
    sa.Column("started_at", sa.Float),  # of the first attempt
    sa.Column("ended_at", sa.Float),
    sa.Column("progress", sa.Text),  # JSON {done, total, unit, note}: the newest
    sa.Column("rows", sa.Text),  # JSON {read, written}
    sa.Column("outputs", sa.Text, nullable=False),  # JSON {output: name@version}
    sa.Column("error", sa.Text),  # JSON of the WorkbenchError that ended it
    # Whose quota its artifacts count against; a child has its parent's.
    sa.Column("project", sa.String(120), nullable=False, server_default="default"),
    # Fewest slots it starts with: as many as ``workers``, unless it asked for a range.
    sa.Column("least_workers", sa.Integer, nullable=False, server_default="1"),
    # Whether it may be given more or fewer slots while it works.
    sa.Column("elastic", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("runs_by_state", "state"),
    sa.Index("runs_by_parent", "parent_run_id"),
)

ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("term", sa.Integer, primary_key=True),
    sa.Column("slots", sa.Text, nullable=False),  # JSON list
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("outcome", sa.String(40)),  # succeeded, failed, stopped, or why it was lost
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),  # 1, 2, 3 ... without a gap
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),  # JSON
)

CHECKPOINTS = sa.Table(
    "checkpoints",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), nullable=False),
    sa.Column("key", sa.String(200), nullable=False),  # a partition, a step, a trial
    sa.Column("term", sa.Integer, nullable=False),  # the attempt that made it
    sa.Column("folder", sa.Text, nullable=False),  # name below the run's checkpoint folder
    sa.UniqueConstraint("run_id", "key", name="checkpoints_once"),
)

CACHE = sa.Table(
    "cache",
    METADATA,
    sa.Column("cache_key", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), nullable=False),  # first wins
)

LEADERS = sa.Table(
    "leaders",
    METADATA,
    sa.Column("name", sa.String(40), primary_key=True),  # what is led, such as "dispatcher"
    sa.Column("holder", sa.String(120), nullable=False),  # who leads; empty: nobody does
    sa.Column(
        "term", sa.Integer, nullable=False
    ),  # number of times it was taken; fences older ones
    sa.Column("beat", sa.BigInteger, nullable=False),  # changes with each sign of life
    sa.Column("address", sa.Text, nullable=False),  # where the holder can be asked; no secret
    # Seconds since 1970 by the holder's clock: told to people, never reckoned with.
    sa.Column("seen_at", sa.Float, nullable=False),
)
