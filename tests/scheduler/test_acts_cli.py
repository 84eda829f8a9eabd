"""Every act through the real command line, on a home whose rows were written as workers write them."""

import csv
import io
import json
import socket
import sys
from pathlib import Path

import pytest

from scheduler import Sweep, cli, reads, settling
from scheduler.home import Home
from scheduler.store import Store
from tests.scheduler.acting import claim, start, work_off
from tests.scheduler.conftest import DEMO_LIKE


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    (path / "data").symlink_to(home / "data")
    (tmp_path / "sweep.yaml").write_text(DEMO_LIKE)
    return path


@pytest.fixture
def t2f(place: Path, monkeypatch, capsys):
    """Runs the command line in this process; what it prints, its errors where it ends with another code than 0."""
    monkeypatch.setenv("T2F_HOME", str(place))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["t2f", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.out + printed.err
        assert "Traceback" not in printed.err
        return printed.err if code == 2 else printed.out

    return run


def work(place: Path, *, at_most: int = 1000, until_the_end: bool = True) -> None:
    database = Home(path=place).open()
    store = Store(database)
    worker = store.register_worker(name=f"w{len(reads.workers(database))}", node="n", pid=1, device="cpu", share=1.0)
    for _ in range(20):
        sweep = reads.sweeps(database)[0]
        if settling.settle(store, sweep):
            settling.end_sweep(store, sweep)
            break
        work_off(store, worker, at_most=at_most)
        if not until_the_end:
            break
    database.close()


@pytest.fixture
def ended(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    work(place)


def test_a_trial_is_forked_cloned_extended_and_shown(t2f, place, ended):
    fork = ("trial", "fork", "--from", "T0@8", "--set", "generator.learning_rate=0.0005")
    assert "would add a trial, from demo-like/T0@8; trained already: 4, 8 px; to train: 16 px" in t2f(
        *fork, "--dry-run"
    )
    assert "demo-like/T6: added, from demo-like/T0@8" in t2f(*fork)
    clone = json.loads(t2f("trial", "clone", "T0", "--set", "loss.name=hinge", "--json"))
    assert clone == {
        "trial": "demo-like/T7",
        "of": "demo-like/T0",
        "dry_run": False,
        "trained": {"4": False, "8": False, "16": False},
    }
    assert "T8: added" in t2f("trial", "extend", "T5")
    assert "prepared up to 16 px" in t2f("trial", "extend", "T0", "--to", "32", "--kimg", "1", code=2)
    assert "--kimg x is not allowed" in t2f("trial", "extend", "T0", "--to", "32", "--kimg", "x", code=2)
    assert "write SWEEP/T12@32" in t2f("trial", "fork", "--from", "T0", "--set", "loss.name=hinge", code=2)
    assert "write --set NAME=VALUE" in t2f("trial", "clone", "T0", "--set", "hinge", code=2)
    work(place)
    shown = json.loads(t2f("trial", "show", "T6", "--json"))
    assert (shown["origin"], shown["state"]) == ("fork", "complete")
    assert shown["attributes"]["of"] == "demo-like/T0@8"
    assert [run["checkpoint"] for run in shown["stage_runs"]] == ["state"] * 3
    assert shown["sweep"]["submitted"] == DEMO_LIKE
    assert {"commit", "dirty", "packages", "python", "cpu", "training_version"} <= set(shown["sweep"]["provenance"])
    assert shown["sweep"]["resolved"]["seed"] == 0
    assert shown["stage_runs"][0]["attempts"][0]["numerics_class"] == "test"
    said = t2f("trial", "show", "T6")
    assert "demo-like/T6: complete, fork of demo-like/T0@8" in said
    assert "generator.learning_rate = 0.0005 from 16 px on" in said


def test_a_trial_is_paused_and_resumed(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    assert "T0: paused" in t2f("trial", "pause", "T0")
    assert "is paused already" in t2f("trial", "pause", "T0", code=2)
    assert "T0: waiting" in t2f("trial", "resume", "T0")
    assert "only a paused trial can be resumed" in t2f("trial", "resume", "T0", code=2)


def test_logs_say_what_happened(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    database = Home(path=place).open()
    store = Store(database)
    settling.settle(store, reads.sweeps(database)[0])
    worker = store.register_worker(name="worker-7", node="n", pid=1, device="cpu", share=1.0)
    start(store, job := claim(store, worker))
    store.add_curves(job.stage_run_id, job.attempt, [("loss.d", 8, 1.0), ("loss.d", 16, 0.5)])
    store.lose_worker(worker, error="its process is [gone]")
    database.close()
    (place / "logs").mkdir()
    (place / "logs" / "worker-7.stacks").write_text('Thread 0x1\n  File "loader.py", line 3 in read\n')
    said = t2f("trial", "logs", "T0")
    for word in (
        "attempt 1 on worker-7",
        "its process is [gone]",
        "curves: loss.d 0.5",
        'File "loader.py", line 3 in read',
        "stage_run.running",
    ):
        assert word in said
    found = json.loads(t2f("trial", "logs", "T0", "--json"))
    assert found["stage_runs"][0]["attempts"][0]["outcome"] == "lost"
    assert found["stage_runs"][0]["curves"] == {"loss.d": {"images": 16, "value": 0.5}}
    assert {"trial.running", "stage_run.ready", "stage_run.leased"} <= {event["kind"] for event in found["events"]}
    t2f("sweep", "cancel", "demo-like")
    assert "trial.canceled" in t2f("trial", "logs", "T0", "--follow"), "following ends with the trial"


def test_a_sweep_is_stopped(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    work(place, at_most=1, until_the_end=False)
    assert "stopping" in t2f("sweep", "stop", "demo-like")
    work(place)
    shown = json.loads(t2f("sweep", "show", "demo-like", "--json"))
    assert shown["state"] == "stopped"
    assert "stopped by" in shown["error"]
    assert "is stopped already" in t2f("sweep", "stop", "demo-like", code=2)


def test_a_sweep_is_edited_after_its_end(t2f, place, ended):
    edit = ("sweep", "edit", "demo-like", "--set", "parameters.loss.name={values: [wgan-gp, hinge]}")
    planned = json.loads(t2f(*edit, "--dry-run", "--json"))
    assert (planned["new_trials"], planned["goes_on"], planned["dry_run"]) == (3, True, True)
    said = t2f(*edit, "--set", "resources.priority=80")
    assert "resources.priority: 50 -> 80" in said
    assert "demo-like: open again" in said
    assert "cannot be edited" in t2f("sweep", "edit", "demo-like", "--set", "seed=3", code=2)
    work(place)
    shown = json.loads(t2f("sweep", "show", "demo-like", "--json"))
    assert (shown["state"], sum(shown["trials"].values())) == ("complete", 9)


def test_a_sweep_whose_labels_nobody_has_says_so_until_it_is_edited(t2f, place, tmp_path):
    (tmp_path / "sweep.yaml").write_text(DEMO_LIKE + "resources: {labels: {pool: a100, zone: b}}\n")
    why = "no worker has pool=a100 and zone=b"
    assert f"{why}, as none runs now; it waits until one has" in t2f("sweep", "submit", tmp_path / "sweep.yaml")
    database = Home(path=place).open()
    labels = {"pool": "h100"}
    Store(database).register_worker(name="w-h100", node="n", pid=1, device="cpu", share=1.0, labels=labels)
    assert "pool=h100" in t2f("worker", "ls")
    assert json.loads(t2f("worker", "ls", "--json"))[0]["labels"] == labels
    told = f"{why}; workers have pool=h100 (1)"
    assert f"demo-like: running\nlabels: pool=a100, zone=b\nwaiting: {told}\n" in t2f("sweep", "show", "demo-like")
    assert f"demo-like is waiting: {told}\n" in t2f("sweep", "ls")
    (listed,) = json.loads(t2f("sweep", "ls", "--json"))
    assert (listed["labels"], listed["waits"]) == ({"pool": "a100", "zone": "b"}, told)
    assert json.loads(t2f("sweep", "export", "demo-like", "--format", "json"))["labels"] == listed["labels"]
    with Sweep.open("demo-like", home=place) as sweep:
        assert sweep.waits == told
    edit = ("sweep", "edit", "demo-like", "--set")
    assert "pool = '!' is not allowed" in t2f(*edit, "resources.labels={pool: '!'}", code=2)
    t2f(*edit, "resources.labels={pool: h100}")
    shown = json.loads(t2f("sweep", "show", "demo-like", "--json"))
    assert (shown["labels"], shown["waits"]) == (labels, None)
    assert "waiting" not in t2f("sweep", "show", "demo-like").partition("rank")[0]


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "pool"), "--label 'pool' is not allowed; write --label KEY=VALUE"),
        (("--label", "pool=a b"), "--label: pool = 'a b' is not allowed"),
        (("--label", "pool=a", "--address", "auto"), "--label and --address auto do not go together"),
    ],
)
def test_labels_that_no_worker_can_get_are_refused_before_anything_starts(t2f, place, port, words, said):
    assert said in t2f("up", "--port", port, *words, code=2)
    assert [path.name for path in place.iterdir()] == ["data"]


def test_up_says_which_labels_its_workers_would_have(t2f, port):
    said = t2f("up", "--port", port, "--label", "pool=a100", "--label", "zone=b", "--dry-run")
    assert "its workers would have pool=a100, zone=b" in said


def test_a_sweep_is_exported(t2f, place, ended, tmp_path):
    rows = list(csv.DictReader(io.StringIO(t2f("sweep", "export", "demo-like"))))
    assert [row["trial"] for row in rows] == [f"demo-like/T{number}" for number in range(6)]
    t2f("sweep", "export", "demo-like", "--out", tmp_path / "s.json")
    assert len(json.loads((tmp_path / "s.json").read_text())["trials"]) == 6
    t2f("sweep", "export", "demo-like", "--out", tmp_path / "s.parquet")
    assert (tmp_path / "s.parquet").stat().st_size > 0
    t2f("sweep", "export", "demo-like", "--out", tmp_path / "rates")
    assert (tmp_path / "rates").read_text().startswith("trial,state,origin")
    said = t2f("sweep", "export", "demo-like", "--out", tmp_path / "s.xlsx", code=2)
    assert "s.xlsx ends in .xlsx, and its end must be one of csv, parquet, json; or give --format" in said
    assert "--format xlsx is not allowed" in t2f("sweep", "export", "demo-like", "--format", "xlsx", code=2)


def test_a_sweep_of_wandb_is_imported_and_submitted(t2f, place, tmp_path):
    theirs = tmp_path / "wandb.yaml"
    theirs.write_text("method: grid\nparameters: {loss.name: {values: [wgan-gp, hinge]}, lr: {value: 1}}\n")
    assert "# parameters.lr: is no setting of ours" in t2f("sweep", "import-wandb", theirs)
    said = t2f("sweep", "import-wandb", theirs, "--dataset", "tiny", "--out", tmp_path / "ours.yaml")
    assert "parameters.lr: is no setting of ours" in said
    assert "exists already" in t2f("sweep", "import-wandb", theirs, "--out", tmp_path / "ours.yaml", code=2)
    text = (tmp_path / "ours.yaml").read_text().replace(", 32]", "]").replace(", 80]", "]")
    (tmp_path / "ours.yaml").write_text(text)
    assert "would submit imported: 2 trials" in t2f("sweep", "submit", tmp_path / "ours.yaml", "--dry-run")
    assert "cannot be read" in t2f("sweep", "import-wandb", tmp_path / "none.yaml", code=2)


def test_an_empty_home_says_what_to_do(t2f, place, ended):
    t2f("sweep", "delete", "demo-like")
    assert "there is no sweep yet; t2f sweep submit FILE makes one" in t2f("sweep", "ls")
    database = Home(path=place).open()
    for worker in reads.workers(database):
        Store(database).end_worker(worker.id)
    database.close()
    assert "no worker runs; t2f up starts them" in t2f("worker", "ls")


def test_a_sweep_is_deleted(t2f, place, ended):
    planned = json.loads(t2f("sweep", "delete", "demo-like", "--dry-run", "--json"))
    assert (planned["trials"], planned["dry_run"]) == (6, True)
    assert "would delete 6 trials" in t2f("sweep", "delete", "demo-like", "--dry-run")
    assert "deleted 6 trials" in t2f("sweep", "delete", "demo-like")
    assert json.loads(t2f("sweep", "ls", "--json")) == []
    assert "there is no sweep 'demo-like'" in t2f("sweep", "delete", "demo-like", code=2)


def test_an_open_sweep_is_not_deleted(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    assert "only one that has ended can be deleted" in t2f("sweep", "delete", "demo-like", code=2)


def test_garbage_is_collected(t2f, place, ended):
    said = t2f("gc", "--quota", "0", "--dry-run")
    assert "no quota" not in said
    assert "left as it is" in said, "these rows were written by hand, without files"
    found = json.loads(t2f("gc", "--json"))
    assert (found["quota"], found["freed"], found["items"]) == (None, 0, [])
    t2f("gc", "--quota", "50GB", "--keep-quota")
    assert json.loads(t2f("gc", "--dry-run", "--json"))["quota"] == 50 * 10**9
    t2f("gc", "--no-quota")
    assert json.loads(t2f("gc", "--dry-run", "--json"))["quota"] is None
    assert "write it like 50GB" in t2f("gc", "--quota", "much", code=2)
    assert "--keep-quota needs the quota" in t2f("gc", "--keep-quota", code=2)
    assert "give one of them" in t2f("gc", "--quota", "1GB", "--no-quota", code=2)
    assert json.loads(t2f("gc", "--dry-run", "--json"))["quota"] is None


def test_nothing_is_reproduced_that_was_never_sealed(t2f, place):
    t2f("sweep", "submit", place.parent / "sweep.yaml")
    assert "has no sealed stage" in t2f("trial", "reproduce", "T0", code=2)
