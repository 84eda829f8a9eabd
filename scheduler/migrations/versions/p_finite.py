"""Curves hold finite numbers only, whoever writes: PostgreSQL stores NaN, and both store infinities.

Revision ID: p_finite
"""

from alembic import op

revision = "p_finite"
down_revision = "0001"


def upgrade() -> None:
    # SQLite cannot add a check to a table: the batch copies it.
    with op.batch_alter_table("curves") as curves:
        curves.create_check_constraint(op.f("ck_curves_value_is_finite"), "abs(value) <= 1.7976931348623157e308")
