"""Training a sweep's trials in a loop of one's own: ask for one, train it, tell its value.

The search is that of any other sweep; only its workers are somebody else. Several processes may ask at once.
"""

import math
import time
from collections.abc import Mapping, Sequence

from scheduler import asking, budgets, reads, settling, telling
from scheduler.reads import Sweep, Trial
from scheduler.search.gaussian import NotYet
from scheduler.search.methods import Exhausted
from scheduler.states import OPEN_SWEEPS, SweepState, TrialState
from scheduler.store import Store
from t2f.errors import UserError
from t2f.settings import Value

ASK_SECONDS = 120.0  # in which a sampler must have come to a proposal
LOOK_SECONDS = 0.05  # between two looks at one that computes


def ask(store: Store, sweep: Sweep) -> Trial | None:
    """The next trial, which is the caller's to train; None once nothing is left to try.

    Trials that were enqueued come first. The last value that is told ends the sweep.
    """
    deadline = time.monotonic() + ASK_SECONDS
    while time.monotonic() < deadline:
        sweep = reads.sweep(store.database, sweep.name)
        if sweep.state != SweepState.RUNNING:
            if sweep.state not in OPEN_SWEEPS:
                return None
            why = f": {sweep.error}" if sweep.error else ""
            raise UserError(f"the sweep {sweep.name!r} is paused{why}; resume it to ask for trials")
        if _spent(store, sweep):
            _end_if_over(store, sweep)
            return None
        waiting = next(
            (trial for trial in reads.trials(store.database, sweep.id) if trial.state == TrialState.WAITING), None
        )
        if waiting is not None:
            parameters = _completed(store, sweep, waiting)
            if parameters is not None and store.begin_trial(waiting.id, parameters):
                return reads.trial(store.database, waiting.name)
        elif not asking.ask_trials(store, sweep, count=1):
            if not asking.wants_more(store, sweep):
                _end_if_over(store, sweep)
                return None
            time.sleep(LOOK_SECONDS)
    raise UserError(f"the method {sweep.resolved.method} proposed nothing within {ASK_SECONDS:g} s; ask again")


def _completed(store: Store, sweep: Sweep, trial: Trial) -> Mapping[str, Value] | None:
    """All parameters of a trial, those of late stages too; None where there are none yet, or none at all."""
    final = sweep.resolved.space.plan.final_resolution
    if asking.is_complete(sweep.resolved, trial, final):
        return trial.parameters
    trials = reads.trials(store.database, sweep.id)
    told = telling.told_rows(store.database, sweep, trials, telling.steps_of(store.database, sweep))
    others = [row for row in told if row.number != trial.number]
    try:
        return asking.draw_late(sweep.resolved, trial, final, others)
    except NotYet:
        time.sleep(LOOK_SECONDS)
    except Exhausted as end:
        store.tell_trial(trial.id, TrialState.FAILED, reason=f"no values keep the constraints: {end}")
    return None


def tell(
    store: Store,
    sweep: Sweep,
    trial: Trial,
    values: float | Sequence[float] | Mapping[str, float] | None,
    *,
    failed: str | None = None,
) -> None:
    """End a trial with the value of the sweep's metric (of several: a list in their order, or metric -> value).

    failed: why there is none. The same told again does nothing, so that a loop may repeat what it is not sure of.
    """
    if (values is None) == (failed is None):
        raise UserError(f"{trial.name}: tell a value, or failed='why there is none'")
    told = None if values is None else checked_values(sweep, trial, values)
    state = TrialState.COMPLETE if failed is None else TrialState.FAILED
    now = reads.trial(store.database, trial.name)
    if now.state == TrialState.WAITING:
        raise UserError(f"{trial.name} was not asked for; tell a trial that `ask` gave")
    if not store.tell_trial(trial.id, state, values=told, reason=failed):
        now = reads.trial(store.database, trial.name)
        if (now.state, now.told) != (state, told):
            raise UserError(f"{trial.name} is {now.state} already; only a trial that has not ended can be told")
    _end_if_over(store, sweep)


def checked_values(
    sweep: Sweep, trial: Trial, values: float | Sequence[float] | Mapping[str, float]
) -> dict[str, float]:
    """Metric -> finite value; UserError where they are not those of the sweep."""
    names = [objective.metric for objective in sweep.resolved.objectives]
    if isinstance(values, Mapping):
        found = dict(values)
    elif isinstance(values, Sequence) and not isinstance(values, str):
        found = dict(zip(names, values, strict=False)) if len(values) == len(names) else {}
    else:
        found = dict(zip(names, [values], strict=False)) if len(names) == 1 else {}
    if set(found) != set(names):
        raise UserError(f"{trial.name}: {values!r:.100} is not allowed; tell a value of each of {', '.join(names)}")
    for name, value in found.items():
        # float() takes the numbers of numpy and torch too; a bool is a mistake.
        try:
            number = math.nan if isinstance(value, bool | str) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(
                f"{trial.name}: {name} = {value!r:.100} is not allowed; tell a finite number, or failed='why'"
            )
        found[name] = number
    return found


def _spent(store: Store, sweep: Sweep) -> bool:
    """Whether a budget of the sweep is spent; what was not yet asked for is then canceled."""
    spent = budgets.spent_budget(store.database, sweep, store.now())
    if spent is None:
        return False
    if spent != sweep.spent:
        store.set_spent(sweep.id, spent)
    trials = reads.trials(store.database, sweep.id)
    waiting = {trial.id: TrialState.CANCELED for trial in trials if trial.state == TrialState.WAITING}
    store.set_trial_states(waiting, reason=f"the sweep's budget: {spent}")
    return True


def _end_if_over(store: Store, sweep: Sweep) -> None:
    """End the sweep once nothing is being trained and nothing is left to ask for."""
    is_spent = _spent(store, sweep)
    if any(trial.is_open for trial in reads.trials(store.database, sweep.id)):
        return
    if is_spent or not asking.wants_more(store, sweep):
        settling.end_sweep(store, sweep)
