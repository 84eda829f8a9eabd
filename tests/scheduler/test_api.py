"""Sweeps from Python: rows and answers are those of the command line; every mistake is a UserError."""

import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml

from scheduler import Sweep
from scheduler.home import Home
from scheduler.states import SweepState
from t2f.errors import UserError
from tests.scheduler.conftest import DEMO_LIKE
from tests.scheduler.test_cli import everything_below, own_home  # noqa: F401 - a fixture


def demo_like(**changes) -> dict:
    return {**yaml.safe_load(DEMO_LIKE), **changes}


def test_importing_the_package_is_light():
    code = (
        "import sys, scheduler; heavy = ['torch', 'ray', 'sqlalchemy', 'optuna', 'pandas', 'typer', 'yaml', 'numpy']; "
        "print([m for m in heavy if m in sys.modules]); from scheduler import Sweep; "
        "print([m for m in ('torch', 'ray', 'pandas', 'optuna') if m in sys.modules], Sweep.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[]", "[] Sweep"]
    with pytest.raises(ImportError, match="cannot import name 'Swep'"):
        exec("from scheduler import Swep")


def test_a_file_is_looked_at_submitted_and_acted_on(own_home, tmp_path):  # noqa: F811 - the fixture
    path = tmp_path / "sweep.yaml"
    path.write_text(DEMO_LIKE)
    file = Sweep.load(path)
    before = everything_below(own_home)
    assert (file.tree(home=own_home).trials, file.tree(home=own_home).saved) == (6, 4)
    assert everything_below(own_home) == before, "nothing is written"
    with file.submit(home=own_home, name="mine") as sweep:
        assert (sweep.name, sweep.state, sweep.error) == ("mine", SweepState.RUNNING, None)
        assert [trial.number for trial in sweep.trials()] == list(range(6))
        assert sweep.trial(3).parameters == sweep.trial("T3").parameters == sweep.trial("mine/T3").parameters
        assert sweep.enqueue({"loss.name": "wgan-gp", "generator.learning_rate": 0.002}).name == "mine/T6"
        sweep.pause()
        assert sweep.wait(timeout=0) == SweepState.PAUSED
        sweep.resume()
        sweep.cancel_trial(6)
        assert sweep.trial(6).state == "canceled"
        frame = sweep.trials_dataframe()
        assert list(frame.columns[:6]) == ["trial", "state", "origin", "rank", "resolution", "score"]
        assert frame.loc[0, "loss.name"] == "wgan-gp"
        assert frame["rank"].isna().all()
        edited = sweep.edit(**{"resources.priority": 80})
        assert list(edited.changes.values()) == [(50, 80)]
        with pytest.raises(UserError, match="no sealed stage of 8 px to fork from"):
            sweep.fork_trial(0, 8, {"generator.learning_rate": 0.003})
        with pytest.raises(UserError, match="only a pruned trial can be promoted"):
            sweep.promote_trial(0)
        copy = sweep.clone_trial(0, {"generator.learning_rate": 0.003})
        assert (copy.origin, copy.parameters["generator.learning_rate"]) == ("clone", 0.003)
        assert [row["trial"] for row in sweep.export()] == [trial.name for trial in sweep.trials()]
        sweep.pause_trial(1)
        assert sweep.trial(1).state == "paused"
        with pytest.raises(UserError, match="is paused already"):
            sweep.pause_trial(1)
        sweep.resume_trial(1)
        assert sweep.trial(1).state == "waiting"
        assert [event["kind"] for event in sweep.logs(1)["events"]][-2:] == ["trial.paused", "trial.waiting"]
        with pytest.raises(UserError, match="only a complete trial can be extended"):
            sweep.extend_trial(1, images=80)
        with pytest.raises(UserError, match="only one that has ended can be deleted"):
            sweep.delete()
        sweep.stop()
        assert sweep.state == SweepState.STOPPING
        sweep.cancel()
        assert sweep.wait() == SweepState.CANCELED
        for act in (sweep.cancel, sweep.pause, sweep.resume):
            with pytest.raises(UserError, match="is canceled already"):
                act()
    with Sweep.open("mine", home=own_home) as sweep:
        with pytest.raises(UserError, match="no trial of 'mine' is measured"):
            sweep.best()
        assert sweep.delete().trials == 8
    with pytest.raises(UserError, match="there is no sweep 'mine'"):
        Sweep.open("mine", home=own_home)


def test_the_best_and_the_table_of_a_measured_sweep(six):
    with Sweep.open("six", home=str(six.path)) as sweep:
        best = sweep.best()
        assert (best.trial, best.value, best.resolution, best.closed_gates) == ("six/T4", 0.5, 8, ())
        assert best.model == six.files / "models/six/T4-8"
        frame = sweep.trials_dataframe().sort_values("rank")
        assert list(frame.index) == [4, 3, 2, 1, 0, 5], "what is behind a gate has no rank"
        assert frame.loc[4, "score"] == 0.5
        assert str(frame["rank"].dtype) == "Int64"
        assert isinstance(frame, pandas.DataFrame)


def test_a_mapping_is_read_as_strictly_as_a_file(own_home, tmp_path):  # noqa: F811 - the fixture
    for content, said in (
        (demo_like(preset="smal"), "the sweep's mapping: preset = 'smal'.*did you mean 'small'"),
        (demo_like(nmae="x"), "unknown key 'nmae'; did you mean 'name'"),
        (demo_like(seed=float("nan")), "cannot be written as a file"),
        (demo_like(seed=object()), "cannot be written as a file"),
        (demo_like(seed=10**20), "^the sweep's mapping: seed: a whole number beyond"),
        (demo_like(name="1e-4/x"), "name = '1e-4/x' is not allowed"),
        ({}, "'stages' is missing|is missing"),
    ):
        with pytest.raises(UserError, match=said):
            Sweep.from_dict(content)
    file = Sweep.from_dict(demo_like(name="from-dict", parameters={"loss.name": {"values": ("wgan-gp",)}}))
    with file.submit(home=own_home) as sweep:
        assert len(sweep.trials()) == 1
    with pytest.raises(UserError, match="exists already"):
        file.submit(home=own_home)


def test_mistakes_are_user_errors(six, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Sweep.load(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="holds no database"):
        Sweep.open("six", home=tmp_path / "nowhere")
    with pytest.raises(UserError, match="there is no sweep 'sx'; sweeps: six"):
        Sweep.open("sx", home=six.path)
    with Sweep.open("six", home=six.path) as sweep:
        for which, said in ((99, "there is no trial"), ("x", "no trial's name"), ("other/T1", "there is no sweep")):
            with pytest.raises(UserError, match=said):
                sweep.trial(which)
        with pytest.raises(UserError, match="is trained by workers; submit one with own_loop=True"):
            sweep.ask()
        with pytest.raises(UserError, match="is trained by workers"):
            sweep.tell(0, 0.5)
        with pytest.raises(UserError, match="only a failed or diverged trial"):
            sweep.retry_trial(0)
        with pytest.raises(UserError, match="generator.learning_rat"):
            sweep.enqueue({"generator.learning_rat": 1})


def test_without_pandas_the_table_says_what_to_install(six):
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from scheduler import Sweep\nfrom t2f.errors import UserError\n"
        f"try: Sweep.open('six', home={str(six.path)!r}).trials_dataframe()\n"
        "except UserError as error: print(error)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert "pip install 't2f[dataframe]'" in done.stdout


def test_the_home_is_the_variable_s_where_none_is_given(six, monkeypatch):
    monkeypatch.setenv("T2F_HOME", str(six.path))
    with Sweep.open("six") as sweep:
        assert repr(sweep) == f"Sweep('six', home={str(six.path)!r})"
    assert Home(path=six.path).path == six.path
