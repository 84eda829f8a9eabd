"""Deleting a sweep: its rows and files go, what others share stays, and nothing is left half deleted."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler import commands, deleting, reads, settling
from scheduler import tables as t
from scheduler.states import SweepState, TrialState
from t2f.errors import UserError
from tests.scheduler.acting import claim, finish_sweep, start
from tests.scheduler.conftest import DEMO_LIKE

OTHER = DEMO_LIKE.replace("values: [0.001, 0.002, 0.004]", "values: [0.001, 0.003]")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


def score(job) -> float:
    """The lower rates of one loss are the best."""
    if job.kind == "train":
        return 0.0
    settings = job.spec["stage"]["settings"]
    return (0.5 if settings["loss.name"] == "logistic-r1" else 0.2) - 10 * settings["generator.learning_rate"]


def end(store, worker, name: str = "s") -> None:
    finish_sweep(store, reads.sweep(store.database, name), worker, score)


def counts(store) -> dict[str, int]:
    with store.database.read.begin() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table))
            for table in t.metadata.tables.values()
            if table.name not in ("moves", "workers", "leader", "receipts")
        }


def write_files(store, files: Path) -> None:
    with store.database.read.begin() as connection:
        uris = connection.scalars(sa.select(t.checkpoints.c.uri)).all()
    for uri in uris:
        (files / uri).parent.mkdir(parents=True, exist_ok=True)
        (files / uri).write_bytes(b"1234567890")


def all_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def delete(store, files: Path, name: str = "s", **options):
    return commands.delete_sweep(store, files, reads.sweep(store.database, name), by="ada", **options)


def test_nothing_of_a_sweep_alone_is_left(store, submit, worker, files):
    submit()
    end(store, worker)
    write_files(store, files)
    planned = delete(store, files, dry_run=True)
    assert (planned.trials, planned.stage_runs, planned.files, planned.bytes) == (6, 10, 10, 100)
    assert len(all_files(files)) == 10, "a dry run removes nothing"
    assert delete(store, files) == planned
    assert all_files(files) == set()
    assert list(files.iterdir()) == [], "empty folders go too"
    left = counts(store)
    assert left.pop("events") == 2, "a worker that started, and the deletion"
    assert left.pop("outbox") == 1, "hooks are still to be told that it ended"
    assert set(left.values()) == {0}
    assert reads.find_sweep(store.database, "s") is None
    submit()
    end(store, worker)
    assert len(reads.trials(store.database, reads.sweep(store.database, "s").id)) == 6, "the name is free again"


def test_what_another_sweep_shares_stays_and_is_its_own_now(store, submit, worker, files):
    submit()
    end(store, worker)
    submit(text=OTHER, name="other")
    end(store, worker, "other")
    write_files(store, files)
    before = reads.ranking(store.database, reads.sweep(store.database, "other"))
    gone = delete(store, files)
    assert gone.shared_stage_runs == 5, "4 px and the rate 0.001 at 8 px, twice each, and a winner at 16 px"
    other = reads.sweep(store.database, "other")
    assert reads.ranking(store.database, other) == before
    with store.database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.attempts.c.sweep_id))) == {other.id}
        assert all_files(files) == set(connection.scalars(sa.select(t.checkpoints.c.uri)))
    delete(store, files, "other")
    assert all_files(files) == set()


def test_an_open_sweep_is_refused(store, submit, worker, files):
    sweep = submit()
    with pytest.raises(UserError, match="is running; only one that has ended .* t2f sweep cancel s"):
        delete(store, files)
    start(store, job := claim(store, worker))
    commands.cancel_sweep(store, sweep)
    before = counts(store)
    with pytest.raises(UserError, match="a worker still holds"):
        delete(store, files)
    assert counts(store) == before
    store.acknowledge_cancel(job.stage_run_id, job.attempt)
    assert delete(store, files).trials == 6


def test_a_sweep_that_was_opened_again_meanwhile_is_refused(store, submit, worker, files):
    submit()
    end(store, worker)
    stale = reads.sweep(store.database, "s")
    commands.clone_trial(store, reads.trial(store.database, "s/T0"), values={}, seed=5, by="eve")
    with pytest.raises(UserError, match="is open; only one that has ended"):
        commands.delete_sweep(store, files, stale, by="ada")
    assert reads.trial(store.database, "s/T6").state == TrialState.WAITING
    assert reads.sweep(store.database, "s").state == SweepState.RUNNING


def test_a_settling_scheduler_with_an_old_look_at_a_deleted_sweep_writes_nothing(store, submit, worker, files):
    submit()
    end(store, worker)
    stale = reads.sweep(store.database, "s")
    delete(store, files)
    before = counts(store)
    assert settling.settle(store, stale)
    assert counts(store) == before
    assert store.add_trial(stale.id, None, of="s/T0", by="eve") is None
    with pytest.raises(UserError, match="is gone already"):
        commands.delete_sweep(store, files, stale, by="ada")


def test_models_go_with_their_sweep_but_for_those_with_an_alias_of_their_own(store, submit, worker, files):
    sweep = submit()
    end(store, worker)
    best = reads.ranking(store.database, sweep)[0].standing
    for aliases in (["best"], ["best", "champion"]):
        store.register_model(
            name="s", trial_id=best.trial_id, stage_run_id=best.stage_run_id, uri="m", sha256="m", aliases=aliases
        )
    with pytest.raises(UserError, match="aliases champion; give these to other models first"):
        delete(store, files)
    store.register_model(
        name="s", trial_id=best.trial_id, stage_run_id=best.stage_run_id, uri="m", sha256="m", aliases=["best"]
    )
    with store.database.write.begin() as connection:
        connection.execute(t.models.update().values(aliases=[]))
    assert delete(store, files).models == 1, "one version a stage run"


def test_a_crash_between_rows_and_files_leaves_files_alone(store, submit, worker, files, monkeypatch):
    submit()
    end(store, worker)
    write_files(store, files)

    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(deleting, "remove_files", crash)
    with pytest.raises(KeyboardInterrupt):
        delete(store, files)
    assert reads.find_sweep(store.database, "s") is None
    assert counts(store)["checkpoints"] == 0
    assert len(all_files(files)) == 10, "t2f gc finds them"
