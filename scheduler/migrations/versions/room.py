"""Why the leading scheduler gives out no work.

Revision ID: m_room
"""

import sqlalchemy as sa
from alembic import op

revision = "m_room"
down_revision = "l_labels"


def upgrade() -> None:
    op.add_column("leader", sa.Column("held_up", sa.Text()))
