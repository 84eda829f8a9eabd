"""Single trials: added to a sweep, paused, tried again."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import BROKEN_TRIALS, OPEN_TRIALS, RunState, SweepState, TrialState
from scheduler.store.evaluations import move_evaluation
from scheduler.store.rebuilding import parents_that_are_whole
from scheduler.store.rows import RETRIED, NewTrial
from scheduler.store.sweeps import SweepWrites, lock_sweep, sweeps_of
from scheduler.store.writes import note_changes, record_event


class TrialWrites(SweepWrites):
    def add_trial(self, sweep_id: int, trial: NewTrial, *, of: str, by: str) -> int | None:
        """The number of a person's new trial; an ended sweep is open again. None where the sweep is being stopped.

        of: the trial that it comes from.
        """
        with self._transaction() as (connection, now):
            if self._held_sweep(connection, sweep_id) in (None, SweepState.STOPPING):
                return None
            self._insert_trials(connection, now, sweep_id, [trial])
            self._reopen(connection, now, sweep_id)
            added = connection.execute(
                sa.select(t.trials).where(t.trials.c.sweep_id == sweep_id).order_by(t.trials.c.number.desc()).limit(1)
            ).one()
            note_changes(connection, [{"sweep_id": sweep_id, "trial_id": added.id}])
            record_event(
                connection, now, "trial.added", sweep_id=sweep_id, trial_id=added.id, origin=trial.origin, of=of, by=by
            )
            return added.number

    def set_trial_paused(self, trial_id: int, *, paused: bool) -> bool:
        """Pause or resume one trial with what it wants; whether it was open and not so already.

        What it shares goes on for the others, what runs for it alone goes on to the end of its stage.
        """
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(trial_id)))
            trial = connection.execute(
                sa.select(t.trials, t.sweeps.c.state.label("sweep_state"))
                .join(t.sweeps, t.sweeps.c.id == t.trials.c.sweep_id)
                .where(t.trials.c.id == trial_id)
            ).one_or_none()
            if trial is None or trial.state not in OPEN_TRIALS or (trial.state == TrialState.PAUSED) == paused:
                return False
            wanted = self._change_demands(
                connection,
                t.demands.c.trial_id == trial_id,
                paused=int(paused or trial.sweep_state == SweepState.PAUSED),
            )
            state = TrialState.PAUSED if paused else TrialState.RUNNING if wanted else TrialState.WAITING
            self._move_trial(connection, now, trial_id, state, None)
            self._follow_demands(connection, now, *wanted)
            return True

    def retry_trial(self, trial_id: int, *, evaluation_key: str) -> bool:
        """A person's wish to try a failed or diverged trial again, where it broke; whether it was one.

        Its sweep is open again, and the faults so far no longer count against the retry budgets.
        """
        going = sa.select(t.sweeps.c.id).where(
            t.sweeps.c.id == t.trials.c.sweep_id, t.sweeps.c.state != SweepState.STOPPING
        )
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(trial_id)))
            sweep_id = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state.in_(BROKEN_TRIALS), going.exists())
                .values(state=TrialState.RUNNING, ended=None)
                .returning(t.trials.c.sweep_id)
            ).scalar_one_or_none()
            if sweep_id is None:
                return False
            self._reopen(connection, now, sweep_id)
            # Not the last one alone: one before it may have broken while it was rebuilt.
            path = connection.execute(
                locked(
                    sa.select(t.stage_runs)
                    .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
                    .where(t.demands.c.trial_id == trial_id)
                    .order_by(t.stage_runs.c.id),
                    of=t.stage_runs,
                )
            ).all()
            for run in path:
                self._retry_stage_run(connection, now, run, evaluation_key)
            record_event(connection, now, "trial.retried", sweep_id=sweep_id, trial_id=trial_id)
            note_changes(connection, [{"sweep_id": sweep_id, "trial_id": trial_id}])
            return True

    def _retry_stage_run(self, connection: sa.Connection, now: float, run: sa.Row, evaluation_key: str) -> None:
        if run.state in (RunState.FAILED, RunState.DIVERGED):
            record_event(connection, now, RETRIED, stage_run_id=run.id, after_attempt=run.attempt)
            self._move(connection, now, run.id, RunState.READY, error=None, ready_at=0.0)
            if run.parent_id is not None and not parents_that_are_whole(connection, {run.parent_id}):
                self._move(connection, now, run.id, RunState.WAITING)
            self._follow_demands(connection, now, run.id)
        failed = connection.execute(
            locked(
                sa.select(t.evaluations).where(
                    t.evaluations.c.stage_run_id == run.id,
                    t.evaluations.c.key == evaluation_key,
                    t.evaluations.c.state == RunState.FAILED,
                )
            )
        ).one_or_none()
        if failed is not None:
            move_evaluation(connection, now, failed, RunState.READY, error=None, ended=None, ready_at=0.0)
