"""What samplers are told, with and without what is kept from earlier turns."""

from scheduler import commands, reads, settling, telling
from scheduler.states import TrialState
from tests.scheduler.acting import work_off
from tests.scheduler.test_asking import STAGED, scores


def test_what_is_kept_between_turns_changes_nothing(store, submit, worker, monkeypatch):
    """Over a whole sweep with stopped trials, one of which is promoted at last; ended ones are not read again."""
    text = STAGED.replace("max_trials: 30", "max_trials: 12")
    sweep = submit(text + "early_terminate: {type: halving, eta: 3, min_stage: 4}\n")
    caches = telling.Caches()
    read: list[int] = []
    real = reads.trials_of
    monkeypatch.setattr(telling.reads, "trials_of", lambda database, ids: read.extend(ids) or real(database, ids))

    def told_alike() -> None:
        trials = reads.trials(store.database, sweep.id)
        kept = telling.rows(store.database, sweep, caches)
        assert kept == (trials, {trial.id: kept[1][trial.id] for trial in trials})
        slow = telling.told_rows(store.database, sweep, trials, telling.steps_of(store.database, sweep))
        assert telling.told_rows(store.database, sweep, *kept, caches) == slow

    def run() -> None:
        while not settling.settle(store, sweep):
            told_alike()
            assert work_off(store, worker, scores, at_most=1)
        told_alike()

    run()
    stopped = next(t for t in reads.trials(store.database, sweep.id) if t.state == TrialState.PRUNED)
    read.clear()
    told_alike()
    assert read == []
    settling.end_sweep(store, sweep)
    commands.promote_trial(store, stopped)
    told_alike()
    assert read == [stopped.id]
    run()
    assert reads.trials_of(store.database, [stopped.id])[0].state == TrialState.COMPLETE
