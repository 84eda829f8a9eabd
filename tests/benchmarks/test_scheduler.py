"""The benchmark's sides do what they say they time."""

import sqlalchemy as sa

from benchmarks import scheduler_sides as sides
from scheduler import reads
from scheduler import tables as t
from scheduler.database import open_database, sqlite_url
from scheduler.states import RunState


def runs_in(url: str, state: RunState) -> int:
    database = open_database(url)
    with database.read.begin() as connection:
        count = connection.scalar(
            sa.select(sa.func.count()).select_from(t.stage_runs).where(t.stage_runs.c.state == state)
        )
    database.close()
    return count


def test_every_trial_is_claimable_after_submit_and_claims_seal(tmp_path):
    url = sqlite_url(tmp_path / "x.sqlite")
    assert sides.submit(url, 40)["claimable_seconds"] > 0
    assert runs_in(url, RunState.READY) == 40
    assert sides.claim(url, 10)["count"] == 10
    assert (runs_in(url, RunState.READY), runs_in(url, RunState.DONE)) == (30, 10)
    assert sides.restart(url)["seconds"] > 0
    database = open_database(url)
    assert reads.counts(database, reads.sweep(database, "bench")).trained == 10
    database.close()


def test_the_peer_does_as_many_trials(tmp_path):
    url = sqlite_url(tmp_path / "y.sqlite")
    assert sides.optuna_side(url, 4, 1)["trials_per_second"] > 0
    optuna, storage = sides._optuna_storage(url)
    states = [trial.state for trial in optuna.load_study(study_name="bench", storage=storage).trials]
    assert states == [optuna.trial.TrialState.COMPLETE] * 4
    storage.engine.dispose()
