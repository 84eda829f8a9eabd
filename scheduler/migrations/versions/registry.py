"""The registry's history of aliases and tags, and the outbox of the hooks.

Revision ID: r_registry
"""

import sqlalchemy as sa
from alembic import op

revision = "r_registry"
down_revision = "Q_queue"


def upgrade() -> None:
    op.add_column("models", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=50), nullable=False),
        sa.Column("act", sa.String(length=20), nullable=False),
        sa.Column("moved_by", sa.String(length=200), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_alias_moves_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
    )
    op.create_index("ix_alias_moves_name_alias", "alias_moves", ["name", "alias"])
    op.create_index("ix_alias_moves_model_id", "alias_moves", ["model_id"])
    _note_aliases()
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("spread", sa.Integer(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_spread", "outbox", ["spread"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("outbox_id", sa.Integer(), nullable=False),
        sa.Column("hook", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'sending', 'delivered', 'given up')", name=op.f("ck_deliveries_state")
        ),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_deliveries_outbox_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("outbox_id", "hook", name=op.f("uq_deliveries_outbox_id_hook")),
    )
    op.create_index("ix_deliveries_hook_state_due", "deliveries", ["hook", "state", "due"])


def _note_aliases() -> None:
    """The aliases that versions have already begin the history."""
    models = sa.table("models", sa.column("id"), sa.column("name"), sa.column("aliases", sa.JSON), sa.column("created"))
    moves = sa.table("alias_moves", *map(sa.column, ("model_id", "name", "alias", "act", "moved_by", "at")))
    for row in op.get_bind().execute(sa.select(models).order_by(models.c.id)).all():
        for alias in row.aliases:
            values = {"model_id": row.id, "name": row.name, "alias": alias, "act": "promoted"}
            op.execute(moves.insert().values(**values, moved_by="scheduler", at=row.created))
