"""Keeping: sizes, projects, pins, quotas, and what is left of a deleted artifact."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("num_bytes", sa.BigInteger))
    op.add_column("artifacts", _project())
    op.add_column(
        "artifacts", sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("runs", _project())
    op.create_index("artifacts_by_project", "artifacts", ["project"])
    op.create_table(
        "tombstones",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("parents", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(40), nullable=False),
        sa.Column("project", sa.String(120), nullable=False),
        sa.Column("num_bytes", sa.BigInteger),
        sa.Column("committed_at", sa.Float, nullable=False),
        sa.Column("deleted_at", sa.Float, nullable=False),
        sa.Column("deleted_by", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("files_gone_at", sa.Float),
    )
    op.create_index("tombstones_by_name", "tombstones", ["name", "version"])
    op.create_table(
        "quotas",
        sa.Column("project", sa.String(120), primary_key=True),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
    )


def _project() -> sa.Column[str]:
    return sa.Column("project", sa.String(120), nullable=False, server_default="default")
