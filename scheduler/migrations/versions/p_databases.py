"""Receipts of transactions, and curves that hold finite numbers only: PostgreSQL stores NaN, both store infinities.

Revision ID: p_databases
"""

import sqlalchemy as sa
from alembic import op

revision = "p_databases"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("client", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("client", name=op.f("pk_receipts")),
    )
    # SQLite cannot add a check to a table: the batch copies it.
    with op.batch_alter_table("curves") as curves:
        curves.create_check_constraint(op.f("ck_curves_value_is_finite"), "abs(value) <= 1.7976931348623157e308")
