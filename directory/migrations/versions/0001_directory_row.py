"""The directory's row.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "directory",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.LargeBinary(), nullable=False),
        sa.Column("live", sa.JSON(), nullable=False),
        sa.Column("leader", sa.String(128), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("cluster_time", sa.BigInteger(), nullable=False),
        sa.Column("joined", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("directory")
