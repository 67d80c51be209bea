"""Ranges: the fewest workers that a run starts with."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("least_workers", sa.Integer, nullable=False, server_default="1")
    )
    # Until now every run asked for exactly its number of workers.
    op.execute("UPDATE runs SET least_workers = workers")
