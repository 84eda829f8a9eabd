"""What a sweep had too little of the devices, or too much, so that shares hold over time.

Revision ID: f_fair_share
"""

import sqlalchemy as sa
from alembic import op

revision = "f_fair_share"
down_revision = "m_room"


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("credit", sa.Float(), nullable=False, server_default="0"))
