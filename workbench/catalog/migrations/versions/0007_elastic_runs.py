"""Elastic runs: which may be given more or fewer slots while they work."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("elastic", sa.Boolean, nullable=False, server_default=sa.false())
    )
