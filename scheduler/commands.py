"""What people do to sweeps and trials, for the command line, the pages and Python alike: every act that writes.

This is the door; acts that are stories of their own have their files.
"""

from collections.abc import Mapping
from typing import Any

from scheduler import asking, budgets, reads
from scheduler.deleting import Deletion, delete_sweep
from scheduler.editing import Edit, edit_sweep
from scheduler.offspring import Branch, clone_trial, extend_trial, fork_trial
from scheduler.reads import Sweep, Trial
from scheduler.search.reading import checked_trial
from scheduler.states import BROKEN_TRIALS, SweepState, TrialState
from scheduler.store import NewTrial, Store
from t2f.errors import UserError
from t2f.settings import Value

__all__ = [
    "Branch",
    "Deletion",
    "Edit",
    "cancel_sweep",
    "cancel_trial",
    "checked_enqueue",
    "clone_trial",
    "delete_sweep",
    "edit_sweep",
    "enqueue_trial",
    "extend_trial",
    "fork_trial",
    "pause_sweep",
    "pause_trial",
    "promote_trial",
    "resume_sweep",
    "resume_trial",
    "retry_trial",
    "stop_sweep",
]


def pause_sweep(store: Store, sweep: Sweep) -> None:
    """No new stage runs; what runs goes on."""
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=True))


def resume_sweep(store: Store, sweep: Sweep) -> None:
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=False))


def stop_sweep(store: Store, sweep: Sweep, *, reason: str) -> None:
    """No new trials and stages: what runs is finished and measured, then the sweep ends as stopped."""
    _require_open(store, sweep, store.stop_sweep(sweep.id, reason=reason))


def cancel_sweep(store: Store, sweep: Sweep) -> None:
    """End every open trial; stage runs that nobody else wants are killed."""
    _require_open(store, sweep, store.cancel_sweep(sweep.id, reason="the sweep was canceled"))


def checked_enqueue(sweep: Sweep, parameters: Mapping[str, Any]) -> dict[str, Value]:
    """What a person gives for one trial, checked against the sweep's space; UserError where it is none of it."""
    if not parameters:
        raise UserError("no parameter is given; give one at least, or let the sweep draw all")
    space = sweep.resolved.space
    return checked_trial(space.parameters, space.constraints, parameters)


def enqueue_trial(store: Store, sweep: Sweep, parameters: Mapping[str, Any]) -> str:
    """Add a trial with these parameters and return its name; the scheduler draws the others when it begins."""
    chosen = checked_enqueue(sweep, parameters)
    budgets.require_budget(store, sweep)
    number = store.enqueue_trial(sweep.id, NewTrial(parameters=chosen, origin=asking.ENQUEUED))
    _require_open(store, sweep, number is not None)
    return f"{sweep.name}/T{number}"


def pause_trial(store: Store, trial: Trial) -> None:
    """No new stage runs for one trial; what others share goes on for them, what runs goes on to its stage's end."""
    if not store.set_trial_paused(trial.id, paused=True):
        raise UserError(
            f"{trial.name} is {_state(store, trial)} already; only a trial that is waiting or running can be paused"
        )


def resume_trial(store: Store, trial: Trial) -> None:
    """Go on with a paused trial; where its sweep is paused too, it waits for that."""
    if not store.set_trial_paused(trial.id, paused=False):
        raise UserError(f"{trial.name} is {_state(store, trial)}; only a paused trial can be resumed")


def cancel_trial(store: Store, trial: Trial) -> None:
    """End one trial; what it shares with others goes on for them."""
    if not store.set_trial_states({trial.id: TrialState.CANCELED}, reason="canceled"):
        raise UserError(
            f"{trial.name} is {_state(store, trial)} already; only a trial that has not ended can be canceled"
        )


def retry_trial(store: Store, sweep: Sweep, trial: Trial) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets; an ended sweep is open again."""
    if trial.state in BROKEN_TRIALS:
        budgets.require_budget(store, sweep)
    if not store.retry_trial(trial.id, evaluation_key=sweep.resolved.evaluation.key):
        _refuse_stopping(store, sweep.name, "retry")
        raise UserError(f"{trial.name} is {_state(store, trial)}; only a failed or diverged trial can be retried")


def _refuse_stopping(store: Store, sweep_name: str, act: str) -> None:
    if reads.sweep(store.database, sweep_name).state == SweepState.STOPPING:
        raise UserError(f"the sweep {sweep_name!r} is being stopped; wait until it has stopped, then {act}")


def _state(store: Store, trial: Trial) -> TrialState:
    return reads.trial(store.database, trial.name).state


def promote_trial(store: Store, trial: Trial) -> None:
    """Let a stopped trial go on from where it was sealed, to its end whatever others reach.

    Nothing is trained again for it, and a sweep that had ended is open again.
    """
    if trial.state == TrialState.PRUNED:
        budgets.require_budget(store, reads.sweep(store.database, trial.sweep_name))
    if not store.promote_trial(trial.id):
        _refuse_stopping(store, trial.sweep_name, "promote")
        raise UserError(f"{trial.name} is {_state(store, trial)}; only a pruned trial can be promoted")


def _require_open(store: Store, sweep: Sweep, was_open: bool) -> None:
    # The store decides, in the transaction that writes: the sweep may have ended since the caller looked at it.
    if not was_open:
        state = reads.sweep(store.database, sweep.name).state
        raise UserError(f"the sweep {sweep.name!r} is {state} already; only a sweep that has not ended can be changed")
