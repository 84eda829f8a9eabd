"""Ask and tell: somebody else's loop trains, the search and the rows are ours."""

import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from scheduler import Sweep, reads, settling
from scheduler import tables as t
from scheduler.home import Home
from scheduler.states import SweepState
from scheduler.store import Store
from t2f.errors import UserError
from tests.scheduler.test_cli import own_home  # noqa: F401 - a fixture

RATE = "generator.learning_rate"
SPACE = {RATE: {"distribution": "log_uniform", "min": 1e-4, "max": 1e-2}}


def content(**changes) -> dict:
    return {
        "name": "mine",
        "data": {"dataset": "tiny"},
        "preset": "small",
        "method": "random",
        "stages": {"resolutions": [4, 8], "images": 40, "batch": 8},
        "parameters": SPACE,
        "budget": {"max_trials": 4},
        **changes,
    }


@pytest.fixture
def own(own_home):  # noqa: F811 - the fixture
    opened = []

    def submit(**changes) -> Sweep:
        opened.append(Sweep.from_dict(content(**changes)).submit(home=own_home, own_loop=True))
        return opened[-1]

    yield submit
    for sweep in opened:
        sweep.close()


def loss(parameters) -> float:
    return abs(np.log10(parameters[RATE]) + 2.7)


def test_a_loop_asks_until_nothing_is_left(own):
    sweep = own()
    seen = []
    while (trial := sweep.ask()) is not None:
        assert trial.state == "running"
        seen.append(trial.number)
        sweep.tell(trial, trial.parameters[RATE])
    assert seen == [0, 1, 2, 3]
    assert sweep.state == SweepState.COMPLETE
    assert sweep.ask() is None
    assert Counter(trial.state for trial in sweep.trials()) == {"complete": 4}
    rates = {trial.number: trial.parameters[RATE] for trial in sweep.trials()}
    best = sweep.best()
    assert (best.value, best.number) == (max(rates.values()), max(rates, key=rates.__getitem__))
    assert best.model is None
    assert sweep.trials_dataframe()["score"].to_dict() == rates


@pytest.mark.parametrize("method", ["tpe", "cmaes", pytest.param("gp", marks=pytest.mark.slow)])
def test_the_method_learns_from_what_is_told(own, method):
    sweep = own(method=method, metric={"name": "swd"}, budget={"max_trials": 24})
    while (trial := sweep.ask()) is not None:
        sweep.tell(trial, loss(trial.parameters))
    losses = [loss(trial.parameters) for trial in sweep.trials()]
    assert len(losses) == 24
    assert np.mean(losses[-8:]) < np.mean(losses[:8]), "the later proposals are better than the random first ones"
    assert sweep.best().value == min(losses)


def test_enqueued_trials_come_first_with_the_rest_drawn(own):
    parameters = SPACE | {
        "loss.name": {"values": ["wgan-gp", "logistic-r1"]},
        "augment.strength": {"values": [0.0, 0.5], "from_stage": 8},
    }
    sweep = own(method="tpe", parameters=parameters)
    sweep.enqueue({RATE: 0.003})
    first = sweep.ask()
    assert (first.origin, first.parameters[RATE]) == ("enqueued", 0.003)
    assert set(first.parameters) == set(parameters), "a loop of one's own gets the values of late stages too"
    assert sweep.ask().origin == "tpe"


def test_a_grid_is_gone_through_and_a_failure_is_no_end(own):
    sweep = own(method="grid", parameters={RATE: {"values": [0.001, 0.002, 0.003]}}, budget={})
    first, second, third = sweep.ask(), sweep.ask(), sweep.ask()
    assert sweep.ask() is None
    assert sweep.state == SweepState.RUNNING, "three are still being trained"
    sweep.tell(first, failed="out of memory")
    sweep.tell(second.number, 0.4)
    sweep.tell("T2", {"score": 0.6})
    assert sweep.state == SweepState.COMPLETE
    assert sweep.best().trial == third.name
    assert sweep.trial(0).state == "failed"
    with Store(Home(path=sweep._place.path).open()).database.read.begin() as connection:
        told = connection.execute(sa.select(t.outbox.c.kind, t.outbox.c.payload).order_by(t.outbox.c.id)).all()
    assert [row.kind for row in told] == ["trial.failed", "sweep.ended"]
    assert told[0].payload["reason"] == "out of memory"


def test_values_of_other_libraries_are_numbers_too(own):
    sweep = own()
    for value in (np.float32(0.5), torch.tensor(0.25), 1):
        sweep.tell(sweep.ask(), value)
    assert [trial.told["score"] for trial in sweep.trials()[:3]] == [0.5, 0.25, 1.0]


def test_what_is_no_value_is_refused_and_changes_nothing(own):
    sweep = own()
    trial = sweep.ask()
    for value in (float("nan"), float("inf"), True, "0.5", None, [0.1, 0.2], {"swd": 1.0}, object(), [], {}):
        with pytest.raises(UserError, match="mine/T0: "):
            sweep.tell(trial, value)
    with pytest.raises(UserError, match="tell a value, or failed="):
        sweep.tell(trial, 0.5, failed="both")
    with pytest.raises(UserError, match="mine/T1 was not asked for"):
        sweep.tell(1, 0.5)
    assert sweep.trial(0).state == "running"
    sweep.tell(trial, 0.5)
    sweep.tell(trial, 0.5)
    with pytest.raises(UserError, match="is complete already"):
        sweep.tell(trial, 0.6)
    with pytest.raises(UserError, match="is complete already"):
        sweep.tell(trial, failed="no")


def test_several_objectives_are_told_together(own):
    sweep = own(metric=[{"name": "score"}, {"name": "swd"}], method="tpe")
    for values in ([0.9, 2.0], {"score": 0.1, "swd": 0.5}, (0.05, 3.0), [0.2, 1.0]):
        sweep.tell(sweep.ask(), values)
    assert sweep.best().values == {"score": 0.9, "swd": 2.0}
    with pytest.raises(UserError, match="is complete already|a value of each of score, swd"):
        sweep.tell(0, 0.5)


def test_no_worker_gets_such_a_trial_and_a_pause_is_for_askers_too(own, own_home):  # noqa: F811 - the fixture
    sweep = own()
    store = Store(Home(path=own_home).open())
    assert not settling.settle(store, reads.sweep(store.database, "mine"))
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    assert store.claim(worker, "c", lease_seconds=10) is None
    sweep.pause()
    with pytest.raises(UserError, match="is paused; resume it"):
        sweep.ask()
    sweep.resume()
    assert sweep.ask().number == 0
    store.database.close()


LOOP = """
import sys
from scheduler import Sweep
sweep = Sweep.open("mine", home=sys.argv[1])
while (trial := sweep.ask()) is not None:
    print(trial.number, flush=True)
    sweep.tell(trial, 0.5)
"""


def test_several_processes_share_one_sweep(own, own_home):  # noqa: F811 - the fixture
    sweep = own(method="tpe", budget={"max_trials": 20})
    loops = [
        subprocess.Popen([sys.executable, "-c", LOOP, str(own_home)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    numbers = [int(line) for loop in loops for line in loop.communicate(timeout=120)[0].split()]
    assert [loop.returncode for loop in loops] == [0, 0, 0]
    assert sorted(numbers) == list(range(20)), "each trial is given to one"
    deadline = time.monotonic() + 30
    while sweep.state != SweepState.COMPLETE:
        assert time.monotonic() < deadline


def test_a_spent_budget_ends_it_after_what_is_being_trained(own, monkeypatch):
    sweep = own(method="grid", parameters={RATE: {"values": [0.001, 0.002, 0.003]}}, budget={"wall": "1h"})
    first = sweep.ask()
    now = time.time() + 7200
    monkeypatch.setattr(Store, "now", lambda _: now)
    assert sweep.ask() is None
    assert sweep.state == SweepState.RUNNING
    sweep.tell(first, 0.5)
    assert sweep.state == SweepState.STOPPED
    assert "wall time of" in sweep.error
    assert Counter(trial.state for trial in sweep.trials()) == {"complete": 1, "canceled": 2}
