"""Entitlements: how shares of the pool are cut, and how many slots each may hold."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "entitlements",
        sa.Column("name", sa.String(250), primary_key=True),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("most_slots", sa.Integer),
        sa.Column("changed_at", sa.Float, nullable=False),
    )
