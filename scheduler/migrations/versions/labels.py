"""Labels: those that a sweep wants of its workers, and those that a worker has.

Revision ID: l_labels
"""

import sqlalchemy as sa
from alembic import op

revision = "l_labels"
down_revision = "a_retention"


def upgrade() -> None:
    # Sweeps from before want none, and workers from before have none.
    for table in ("sweeps", "workers"):
        op.add_column(table, sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
