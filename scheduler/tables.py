"""The tables, as SQLAlchemy Core metadata; migrations create them, `store/` and the files of reads alone query them.

Times are seconds since 1970 by the database's own clock. JSON columns hold plain JSON values.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# NaN is NULL on SQLite and larger than all numbers on PostgreSQL, infinities are stored on both: neither may rank.
FINITE = "abs({column}) <= 1.7976931348623157e308"

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("submitted", Text, nullable=False),  # the sweep file as written
    Column("resolved", JSON, nullable=False),  # every default filled in
    Column("state", String(20), nullable=False),
    Column("error", Text),
    Column("data_key", String(64), nullable=False),
    Column("data_name", String(200), nullable=False),
    Column("provenance", JSON, nullable=False),  # commit, dirty flag, package versions
    Column("created_by", String(200), nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    Column("unused_rungs", JSON),  # px -> the rank correlation for which a rung is not used any more
    Column("share", Float, nullable=False, server_default="1"),  # weight in the fair share between sweeps
    Column("credit", Float, nullable=False, server_default="0"),  # device seconds that its fair share was short of
    Column("max_workers", Integer),  # most stage runs of it at once; null: no limit
    Column("spent", Text),  # which budget is spent; null: none
    Column("labels", JSON, nullable=False, server_default="{}"),  # that a worker must have to train for it
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", ForeignKey("sweeps.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parameters", JSON, nullable=False),  # full setting name -> value, what was drawn so far
    Column("state", String(20), nullable=False),
    Column("origin", String(40), nullable=False),  # grid, random, enqueued, grow, branch, replicate
    Column("attributes", JSON, nullable=False),  # what the sampler wants to remember
    Column("created", Float, nullable=False),
    Column("ended", Float),
    UniqueConstraint("sweep_id", "number"),
    Index("ix_trials_sweep_id_state", "sweep_id", "state"),
)

stage_runs = Table(
    "stage_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("parent_id", ForeignKey("stage_runs.id")),
    Column("stage", Integer, nullable=False),  # 0 at 4 px
    Column("resolution", Integer, nullable=False),
    Column("spec", JSON, nullable=False),  # t2f.spec.StageSpec.to_json()
    Column("state", String(20), nullable=False),
    Column("priority", Integer, nullable=False),  # the highest of its unpaused demands
    Column("attempt", Integer, nullable=False),  # the fencing token: number of the newest attempt, 0 before any
    Column("worker_id", ForeignKey("workers.id")),
    Column("lease_until", Float),
    Column("ready_at", Float, nullable=False),  # not claimed before this (back-off after a fault)
    Column("images", BigInteger, nullable=False),  # real images seen in this stage
    Column("images_per_second", Float),
    Column("seconds", Float, nullable=False),  # device seconds over all attempts
    Column("weights_sha256", String(64)),  # of the sealed training state
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    Column("sweep_id", Integer),  # whose unpaused demand came first: it bears the cost of the next attempt
    Column("remaining", Float, nullable=False, server_default="0"),  # forecast seconds to its trials' end
    Column("preempt", Integer, nullable=False, server_default="0"),  # 1: to leave its worker at the next checkpoint
    Index("ix_stage_runs_parent_id", "parent_id"),
)
# The queue's order inside one sweep: a claim reads the first row.
Index(
    "ix_stage_runs_queue",
    stage_runs.c.state,
    stage_runs.c.sweep_id,
    stage_runs.c.priority.desc(),
    stage_runs.c.remaining.desc(),
    stage_runs.c.id,
)

demands = Table(
    "demands",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", ForeignKey("sweeps.id"), nullable=False),
    Column("trial_id", ForeignKey("trials.id"), nullable=False),
    Column("stage_run_id", ForeignKey("stage_runs.id"), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("paused", Integer, nullable=False),  # 0 or 1
    Column("created", Float, nullable=False),
    Column("stage", Integer, nullable=False, server_default="0"),  # of the stage run
    UniqueConstraint("trial_id", "stage_run_id"),
    Index("ix_demands_stage_run_id", "stage_run_id"),
    Index("ix_demands_sweep_id_stage", "sweep_id", "stage"),
)

# What the scheduler has yet to look at, written in the transaction that changed it: trials on a stage run, a trial, or
# (neither) a whole sweep. Rows are deleted by their ids once they were looked at, so nothing is missed by a crash.
changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", Integer, nullable=False),
    Column("stage_run_id", Integer),
    Column("trial_id", Integer),
    Index("ix_changes_sweep_id", "sweep_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("stage_run_id", ForeignKey("stage_runs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("claim_id", String(64), nullable=False, unique=True),
    Column("worker_id", ForeignKey("workers.id"), nullable=False),
    Column("sweep_id", ForeignKey("sweeps.id"), nullable=False),  # whose demand came first: it bears the cost
    Column("numerics_class", String(200)),
    Column("claimed", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("start_images", BigInteger),  # where it went on from
    Column("outcome", String(20)),
    Column("error", Text),
    UniqueConstraint("stage_run_id", "number"),
    Index("ix_attempts_sweep_id", "sweep_id"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("stage_run_id", ForeignKey("stage_runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("uri", Text, nullable=False),  # below the home's files folder: stage_run/attempt/images
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sealed", Integer, nullable=False),  # 1: the stage's end
    Column("created", Float, nullable=False),
    Column("content", String(10), nullable=False, server_default="state"),  # or "ema": the rest was collected
    UniqueConstraint("stage_run_id", "attempt", "images"),
)

curves = Table(
    "curves",
    metadata,
    Column("stage_run_id", ForeignKey("stage_runs.id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("images", BigInteger, primary_key=True),
    Column("value", Float, nullable=False),
    CheckConstraint(FINITE.format(column="value"), name="value_is_finite"),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("stage_run_id", ForeignKey("stage_runs.id"), nullable=False),
    Column("key", String(64), nullable=False),  # H(probe, reference split, judge, metric version, N, resize)
    Column("spec", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("claim_id", String(64)),
    Column("worker_id", ForeignKey("workers.id")),
    Column("lease_until", Float),
    Column("ready_at", Float, nullable=False),
    Column("metrics", JSON),  # name -> {value, low, high, note}
    Column("score", Float),
    Column("samples", JSON),  # {"uri": ..., "captions": [...], "seeds": [...], "tile": px}
    Column("seconds", Float, nullable=False),
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    UniqueConstraint("stage_run_id", "key"),
    CheckConstraint("score >= 0 AND score <= 1", name="score_is_finite"),
    CheckConstraint("state <> 'done' OR score IS NOT NULL", name="done_has_score"),
    Index("ix_evaluations_claim_id", "claim_id"),
)
Index("ix_evaluations_queue", evaluations.c.state, evaluations.c.priority.desc(), evaluations.c.id)

workers = Table(
    "workers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("node", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(200), nullable=False),
    Column("share", Float, nullable=False),  # of a device, or CPU threads
    Column("state", String(20), nullable=False),
    Column("doing", JSON),  # {"kind", "stage_run", "resolution", ...} or null
    Column("telemetry", JSON, nullable=False),  # images_per_second, memory_bytes
    Column("started", Float, nullable=False),
    Column("heartbeat", Float, nullable=False),
    Column("ended", Float),
    Column("labels", JSON, nullable=False, server_default="{}"),  # of its Ray node
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("trial_id", ForeignKey("trials.id"), nullable=False),
    Column("stage_run_id", ForeignKey("stage_runs.id"), nullable=False),
    Column("uri", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("aliases", JSON, nullable=False),  # ["best"]
    Column("tags", JSON, nullable=False, server_default="[]"),  # words that several versions may have
    Column("created", Float, nullable=False),
    UniqueConstraint("name", "version"),
)

# Every move of an alias to a version, append-only: a trigger refuses to change a row.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False),  # the version that it went to
    Column("name", String(200), nullable=False),  # of the model
    Column("alias", String(50), nullable=False),
    Column("act", String(20), nullable=False),  # promoted, or rolled back
    Column("moved_by", String(200), nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_alias_moves_name_alias", "name", "alias"),
    Index("ix_alias_moves_model_id", "model_id"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String(60), nullable=False),  # "stage_run.done", "trial.pruned", ...
    Column("sweep_id", Integer),
    Column("trial_id", Integer),
    Column("stage_run_id", Integer),
    Column("payload", JSON, nullable=False),
)

# What hooks are told of, written in the transaction of the event itself; its id is the idempotency id.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(60), nullable=False),  # sweep.ended, trial.failed, model.best
    Column("payload", JSON, nullable=False),
    Column("spread", Integer, nullable=False),  # 1: the hooks that are to be told have their rows in deliveries
    Column("created", Float, nullable=False),
    Index("ix_outbox_spread", "spread"),
)

# One row for each hook that is to be told of an entry of the outbox.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("outbox_id", ForeignKey("outbox.id", ondelete="CASCADE"), nullable=False),
    Column("hook", String(100), nullable=False),  # its name in hooks.yaml
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),  # not sent before; of one that is being sent: when that is taken for lost
    Column("error", Text),  # of the newest attempt
    Column("ended", Float),
    UniqueConstraint("outbox_id", "hook"),
    CheckConstraint("state IN ('waiting', 'sending', 'delivered', 'given up')", name="state"),
    Index("ix_deliveries_hook_state_due", "hook", "state", "due"),
)

# One scheduler leads: the holder of this single row, until its lease ends; the term rises with each new holder.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("term", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("held_up", Text),  # why it gives out no work; null: it does
    CheckConstraint("id = 1", name="one_row"),
)

# The legal moves of stage runs and evaluations; triggers look here.
moves = Table(
    "moves",
    metadata,
    Column("old", String(20), primary_key=True),
    Column("new", String(20), primary_key=True),
)

# The last transaction that each connection to a PostgreSQL has committed: whoever got no answer to a commit looks here.
receipts = Table(
    "receipts",
    metadata,
    Column("client", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
)
