"""Real training after a real collection: what was let go is trained again to the same bits when it is needed."""

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, trial_reads
from scheduler import tables as t
from scheduler.collecting import collect
from scheduler.models import NamedModels
from scheduler.states import SweepState, TrialState
from scheduler.store import Store
from t2f.data import PreparedData
from t2f.generate import open_bundle
from t2f.spec import StageSpec
from t2f.trainer import StageTrainer
from tests.drills.sweeps import new_home, submit, undisturbed_weights
from tests.drills.test_faults import Scheduler

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def train(place) -> None:
    scheduler = Scheduler(place)
    try:
        scheduler.wait()
    finally:
        scheduler.log.close()


def events(database) -> list[str]:
    with database.read.begin() as connection:
        return list(connection.scalars(sa.select(t.events.c.kind)))


def test_a_fork_below_a_collected_stage_run_rebuilds_it_to_the_same_hash(home, tmp_path):
    place = new_home(home, tmp_path / "home")
    sweep = submit(place, first=96, second=96)
    train(place)
    database = place.open()
    store = Store(database)
    before = undisturbed_weights(place, sweep)
    done = collect(place, store, quota=0)
    assert done.problems == ()
    with database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.checkpoints.c.content))) == {"ema"}
    bundle = open_bundle(NamedModels().model_file("drill/T3", place.path))
    assert bundle.stage.resolution == 8, "what was collected still draws"

    trial = reads.trial(database, "drill/T3")
    branch = commands.fork_trial(store, trial, 4, values={"generator.learning_rate": 0.002}, by="ada")
    assert branch.stages == {4: True, 8: False}
    train(place)
    assert reads.sweep(database, "drill").state == SweepState.COMPLETE
    forked = reads.trial(database, branch.name)
    assert forked.state == TrialState.COMPLETE
    first, second = trial_reads.stage_runs_of(database, forked.id)
    assert (first.weights_sha256, first.content) == (before[first.key], "state")
    assert [attempt.outcome for attempt in reads.attempts(database, first.id)].count("done") == 2
    assert events(database).count("stage_run.rebuilt") == 1
    assert "stage_run.rebuilt_differently" not in events(database)

    data, parent = PreparedData.open(place.data / "tiny"), None
    for run in (first, second):
        trainer = StageTrainer(StageSpec.from_json(run.spec), data, parent=parent)
        while not trainer.position.is_finished:
            trainer.step()
        assert trainer.weights_sha256() == run.weights_sha256
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
    assert reads.trial(database, "drill/T0").state == TrialState.COMPLETE
    collect(place, store, quota=0)
    with database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.checkpoints.c.content))) == {"ema"}, "and it is let go again"
    database.close()
