"""What people do to sweeps and trials, for the command line, the pages and Python alike: every act that writes."""

from collections.abc import Mapping
from typing import Any

from scheduler import asking, reads
from scheduler.reads import Sweep, Trial
from scheduler.search.reading import checked_trial
from scheduler.states import TrialState
from scheduler.store import NewTrial, Store
from t2f.errors import UserError
from t2f.settings import Value


def pause_sweep(store: Store, sweep: Sweep) -> None:
    """No new stage runs; what runs goes on."""
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=True))


def resume_sweep(store: Store, sweep: Sweep) -> None:
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=False))


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
    number = store.enqueue_trial(sweep.id, NewTrial(parameters=chosen, origin=asking.ENQUEUED))
    _require_open(store, sweep, number is not None)
    return f"{sweep.name}/T{number}"


def cancel_trial(store: Store, trial: Trial) -> None:
    """End one trial; what it shares with others goes on for them."""
    if not store.set_trial_states({trial.id: TrialState.CANCELED}, reason="canceled"):
        state = reads.trial(store.database, trial.name).state
        raise UserError(f"{trial.name} is {state} already; only a trial that has not ended can be canceled")


def retry_trial(store: Store, sweep: Sweep, trial: Trial) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets; an ended sweep is open again."""
    if not store.retry_trial(trial.id, evaluation_key=sweep.resolved.evaluation.key):
        state = reads.trial(store.database, trial.name).state
        raise UserError(f"{trial.name} is {state}; only a failed or diverged trial can be retried")


def promote_trial(store: Store, trial: Trial) -> None:
    """Let a stopped trial go on from where it was sealed, to its end whatever others reach.

    Nothing is trained again for it, and a sweep that had ended is open again.
    """
    if not store.promote_trial(trial.id):
        state = reads.trial(store.database, trial.name).state
        raise UserError(f"{trial.name} is {state}; only a pruned trial can be promoted")


def _require_open(store: Store, sweep: Sweep, was_open: bool) -> None:
    # The store decides, in the transaction that writes: the sweep may have ended since the caller looked at it.
    if not was_open:
        state = reads.sweep(store.database, sweep.name).state
        raise UserError(f"the sweep {sweep.name!r} is {state} already; only a sweep that has not ended can be changed")
