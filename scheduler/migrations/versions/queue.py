"""The queue: its order as an index, fair share, quotas, preemption, and what is yet to be looked at.

Revision ID: Q_queue
"""

import sqlalchemy as sa
from alembic import op

revision = "Q_queue"
down_revision = "p_databases"
contracts = (
    "three indexes, which the queue's own replace; a version that used them is slower without and otherwise whole"
)


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("share", sa.Float(), nullable=False, server_default="1"))
    op.add_column("sweeps", sa.Column("max_workers", sa.Integer(), nullable=True))
    op.add_column("sweeps", sa.Column("spent", sa.Text(), nullable=True))
    op.add_column("stage_runs", sa.Column("sweep_id", sa.Integer(), nullable=True))
    op.add_column("stage_runs", sa.Column("remaining", sa.Float(), nullable=False, server_default="0"))
    op.add_column("stage_runs", sa.Column("preempt", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("demands", sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("stage_run_id", sa.Integer(), nullable=True),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index("ix_changes_sweep_id", "changes", ["sweep_id"])
    op.execute("UPDATE demands SET stage = (SELECT stage FROM stage_runs WHERE stage_runs.id = demands.stage_run_id)")
    op.execute(
        "UPDATE stage_runs SET sweep_id = (SELECT sweep_id FROM demands WHERE stage_run_id = stage_runs.id "
        "ORDER BY paused, id LIMIT 1)"
    )
    # A running sweep is looked at as a whole after the update.
    op.execute("INSERT INTO changes (sweep_id) SELECT id FROM sweeps WHERE state IN ('running', 'paused')")
    op.drop_index("ix_stage_runs_state_priority", "stage_runs")
    op.create_index(
        "ix_stage_runs_queue",
        "stage_runs",
        ["state", "sweep_id", sa.text("priority DESC"), sa.text("remaining DESC"), "id"],
    )
    op.drop_index("ix_evaluations_state_priority", "evaluations")
    op.create_index("ix_evaluations_queue", "evaluations", ["state", sa.text("priority DESC"), "id"])
    op.create_index("ix_evaluations_claim_id", "evaluations", ["claim_id"])
    op.create_index("ix_attempts_sweep_id", "attempts", ["sweep_id"])
    op.drop_index("ix_demands_sweep_id", "demands")
    op.create_index("ix_demands_sweep_id_stage", "demands", ["sweep_id", "stage"])
