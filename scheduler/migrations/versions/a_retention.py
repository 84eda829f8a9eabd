"""Retention: what of a training state a checkpoint still holds, and the moves of a rebuilding that is given up.

Revision ID: a_retention
"""

import sqlalchemy as sa
from alembic import op

revision = "a_retention"
down_revision = "e_rungs"

# A stage run that was sealed once is done again when nobody wants its rebuilding any more; one that was canceled
# waits where its parent must be rebuilt first.
MOVES = [("waiting", "done"), ("ready", "done"), ("canceling", "done"), ("canceled", "waiting")]


def upgrade() -> None:
    op.add_column("checkpoints", sa.Column("content", sa.String(length=10), nullable=False, server_default="state"))
    op.bulk_insert(
        sa.table("moves", sa.column("old", sa.String), sa.column("new", sa.String)),
        [{"old": old, "new": new} for old, new in MOVES],
    )
