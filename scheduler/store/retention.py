"""Letting go of checkpoints: the row first, so that no row ever names a file that was removed."""

from collections.abc import Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import ACTIVE, BROKEN, OPEN_TRIALS, RunState
from scheduler.store.deleting import DeletionWrites
from scheduler.store.rows import EMA, STATE, CheckpointRow
from scheduler.store.writes import record_event


class RetentionWrites(DeletionWrites):
    def drop_checkpoints(self, stage_run_id: int, ids: Sequence[int], *, whole_run: bool = False) -> bool:
        """Forget checkpoints inside a stage, never a sealed one; whether they may go.

        whole_run: they are all that an abandoned stage run has, which must still be abandoned.
        """
        with self._transaction() as (connection, _):
            run = _held(connection, stage_run_id)
            if run is None or (whole_run and (run.state not in BROKEN or is_wanted(connection, stage_run_id))):
                return False
            connection.execute(
                t.checkpoints.delete().where(
                    t.checkpoints.c.stage_run_id == stage_run_id,
                    t.checkpoints.c.id.in_(list(ids)),
                    t.checkpoints.c.sealed == 0,
                )
            )
            return True

    def shrink_checkpoint(self, checkpoint_id: int, *, ema: CheckpointRow) -> bool:
        """From now on a sealed stage run's checkpoint is the file with the averaged weights alone; whether it may be.

        It may not where an open trial is on the stage run or an evaluation is about to read it, and where it was done.
        """
        with self._transaction() as (connection, now):
            checkpoint = connection.execute(
                sa.select(t.checkpoints).where(t.checkpoints.c.id == checkpoint_id)
            ).one_or_none()
            if checkpoint is None or checkpoint.content != STATE:
                return False
            run = _held(connection, checkpoint.stage_run_id)
            if run.state != RunState.DONE:
                return False
            if checkpoint.sealed and (is_wanted(connection, run.id) or is_measured(connection, run.id)):
                return False
            connection.execute(
                t.checkpoints.update()
                .where(t.checkpoints.c.id == checkpoint_id)
                .values(content=EMA, uri=ema.uri, sha256=ema.sha256, bytes=ema.num_bytes)
            )
            if checkpoint.sealed:
                freed = checkpoint.bytes - ema.num_bytes
                record_event(connection, now, "stage_run.collected", stage_run_id=run.id, bytes=freed)
            return True


def _held(connection: sa.Connection, stage_run_id: int) -> sa.Row | None:
    return connection.execute(locked(sa.select(t.stage_runs).where(t.stage_runs.c.id == stage_run_id))).one_or_none()


def is_wanted(connection: sa.Connection, stage_run_id: int) -> bool:
    """Whether a trial that has not ended is on this stage run, or below it."""
    statement = (
        sa.select(t.demands.c.id)
        .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
        .where(t.demands.c.stage_run_id == stage_run_id, t.trials.c.state.in_(OPEN_TRIALS))
    )
    return connection.execute(statement.limit(1)).one_or_none() is not None


def is_measured(connection: sa.Connection, stage_run_id: int) -> bool:
    """Whether an evaluation of it is waiting or under way."""
    statement = sa.select(t.evaluations.c.id).where(
        t.evaluations.c.stage_run_id == stage_run_id, t.evaluations.c.state.in_((RunState.READY, *ACTIVE))
    )
    return connection.execute(statement.limit(1)).one_or_none() is not None
