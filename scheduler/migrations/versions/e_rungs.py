"""Rungs that do not foretell the final stage are remembered with the sweep.

Revision ID: e_rungs
"""

import sqlalchemy as sa
from alembic import op

revision = "e_rungs"
down_revision = "r_registry"


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("unused_rungs", sa.JSON(), nullable=True))
