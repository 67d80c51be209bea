"""The first schema: catalog, queue and deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_catalog()
    _create_queue()
    op.create_table(
        "deployments",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("model", sa.String(140), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
    )


def _create_catalog() -> None:
    op.create_table(
        "artifacts",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("version", sa.String(12), primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("parents", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(40), nullable=False),
        sa.Column("committed_at", sa.Float, nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("alias", sa.String(120), nullable=False),
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("run_id", sa.String(40), nullable=False),
        sa.Column("moved_at", sa.Float, nullable=False),
    )
    op.create_index("aliases_by_name", "aliases", ["kind", "name", "alias", "position"])


def _create_queue() -> None:
    op.create_table(
        "runs",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(40), nullable=False, unique=True),
        sa.Column("parent_run_id", sa.String(40)),
        sa.Column("stage", sa.String(80), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("cache_key", sa.String(64)),
        sa.Column("coordinator", sa.Boolean, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("preempted", sa.Boolean, nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("submitted_by", sa.String(120), nullable=False),
        sa.Column("submitted_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("progress", sa.Text),
        sa.Column("rows", sa.Text),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("runs_by_state", "runs", ["state"])
    op.create_index("runs_by_parent", "runs", ["parent_run_id"])
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("term", sa.Integer, primary_key=True),
        sa.Column("slots", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("outcome", sa.String(40)),
    )
    op.create_table(
        "events",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.UniqueConstraint("run_id", "key", name="checkpoints_once"),
    )
    op.create_table(
        "cache",
        sa.Column("cache_key", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.run_id"), nullable=False),
    )
