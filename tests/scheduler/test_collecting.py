"""Collecting on real files: what is freed, what is left after a crash at any point, and what is never touched."""

import os
import time

import pytest
import sqlalchemy as sa
import torch

from scheduler import collecting, commands, reads, settling
from scheduler import tables as t
from scheduler.collecting import collect, ema_uri, home_quota, read_bytes, set_home_quota
from scheduler.home import Home
from scheduler.store import Store
from t2f.checkpoint import load_tensors, save_tensors
from t2f.errors import UserError
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.test_rebuilding import ONE_TRIAL

LONG_AGO = time.time() - 7200


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(64, generator=generator) for name in ("ema.w", "generator.w", "optimizer.m", "disc.w")}


@pytest.fixture
def place(tmp_path) -> Home:
    return Home(path=tmp_path)


@pytest.fixture
def ended(store, submit, worker, place):
    """A sweep of one trial at its end; each stage run with two checkpoints inside and a sealed one, real files."""
    sweep = submit(text=ONE_TRIAL)
    while not settling.settle(store, sweep):
        while (job := claim(store, worker)) is not None:
            start(store, job)
            if job.kind == "train":
                train(store, place, job)
            else:
                finish(store, job)
    settling.end_sweep(store, sweep)
    age(place)
    return reads.sweep(store.database, "s")


def train(store, place: Home, job) -> None:
    for images in (16, 24, 40):
        uri = f"stage_runs/{job.stage_run_id}/{job.attempt}/{images}.safetensors"
        saved = save_tensors(place.files / uri, tensors(images), {"images": images})
        row = {"images": images, "uri": uri, "sha256": saved.sha256, "num_bytes": saved.num_bytes}
        if images < 40:
            store.add_checkpoint(job.stage_run_id, job.attempt, **row)
    store.seal(job.stage_run_id, job.attempt, weights_sha256="w" * 64, seconds=1.0, **row)


def age(place: Home) -> None:
    for path in place.files.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def on_disk(place: Home) -> set[str]:
    return {str(path.relative_to(place.files)) for path in place.files.rglob("*") if path.is_file()}


def in_rows(store) -> dict[str, str]:
    with store.database.read.begin() as connection:
        return {row.uri: row.content for row in connection.execute(sa.select(t.checkpoints))}


def assert_whole(store, place: Home) -> None:
    """Every row has its file, with the hash it says."""
    with store.database.read.begin() as connection:
        for row in connection.execute(sa.select(t.checkpoints)):
            loaded, _ = load_tensors(place.files / row.uri, sha256=row.sha256)
            expected = tensors(row.images)
            assert torch.equal(loaded["ema.w"], expected["ema.w"])
            assert set(loaded) == ({"ema.w"} if row.content == "ema" else set(expected))
            assert (place.files / row.uri).stat().st_size == row.bytes


def test_without_a_quota_only_what_lies_inside_stages_shrinks(store, ended, place):
    before = on_disk(place)
    planned = collect(place, store, quota=None, dry_run=True)
    assert on_disk(place) == before
    assert not (place.path / "gc.lock").exists()
    done = collect(place, store, quota=None)
    assert done == planned
    assert {item.action for item in done.items} == {"shrunk"}
    assert on_disk(place) == set(in_rows(store))
    assert sorted(in_rows(store).values()) == ["ema"] * 6 + ["state"] * 3
    assert_whole(store, place)
    assert collect(place, store, quota=None).items == ()


def test_over_the_quota_the_full_states_go_the_oldest_first(store, ended, place):
    thin = collect(place, store, quota=None)
    total = sum((place.files / uri).stat().st_size for uri in in_rows(store))
    assert thin.checkpoint_bytes - thin.freed == total
    planned = collect(place, store, quota=total - 1, dry_run=True)
    done = collect(place, store, quota=total - 1)
    assert done == planned
    assert [item.uri for item in done.items] == ["stage_runs/1/1/40.safetensors"]
    assert "over the quota" in done.items[0].why
    collect(place, store, quota=0)
    assert set(in_rows(store).values()) == {"ema"}
    assert on_disk(place) == set(in_rows(store))
    assert_whole(store, place)
    with store.database.read.begin() as connection:
        kinds = connection.scalars(sa.select(t.events.c.kind)).all()
    assert kinds.count("stage_run.collected") == 3


def test_a_dry_run_of_everything_says_what_the_run_then_frees(store, ended, place):
    planned = collect(place, store, quota=0, dry_run=True)
    assert collect(place, store, quota=0).freed == planned.freed


def test_nothing_below_an_open_trial_is_collected(store, ended, place):
    trial = reads.trial(store.database, "s/T0")
    commands.fork_trial(store, trial, 8, values={"generator.learning_rate": 0.004}, by="ada")
    settling.settle(store, reads.sweep(store.database, "s"))
    collect(place, store, quota=0)
    sealed = {uri: content for uri, content in in_rows(store).items() if "/40" in uri}
    assert sealed == {
        "stage_runs/1/1/40.safetensors": "state",
        "stage_runs/2/1/40.safetensors": "state",
        "stage_runs/3/1/40.ema.safetensors": "ema",
    }


class Killed(BaseException):
    pass


POINTS = ("write_excerpt", "shrink", "drop", "remove_files")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [0, 3])
def test_a_kill_at_any_point_leaves_every_row_its_file_and_the_next_collection_finds_the_rest(
    store, ended, place, monkeypatch, point, after, nth
):
    # An abandoned stage run too, of which everything goes.
    with store.database.write.begin() as connection:
        connection.execute(t.stage_runs.update().where(t.stage_runs.c.id == 3).values(state="ready"))
        connection.execute(t.stage_runs.update().where(t.stage_runs.c.id == 3).values(state="canceled"))
    left = [nth]

    def killing(act):
        def do(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0 and not after:
                raise Killed
            result = act(*args, **kwargs)
            if left[0] < 0:
                raise Killed
            return result

        return do

    if point in ("write_excerpt", "remove_files"):
        monkeypatch.setattr(collecting, point, killing(getattr(collecting, point)))
    elif point == "shrink":
        monkeypatch.setattr(Store, "shrink_checkpoint", killing(Store.shrink_checkpoint))
    else:
        left[0] = 0
        monkeypatch.setattr(Store, "drop_checkpoints", killing(Store.drop_checkpoints))
    with pytest.raises(Killed):
        collect(place, store, quota=0)
    assert_whole(store, place)
    monkeypatch.undo()
    age(place)
    collect(place, store, quota=0)
    assert_whole(store, place)
    assert on_disk(place) == set(in_rows(store))


def test_files_that_no_row_names_go_once_they_are_old(store, ended, place):
    collect(place, store, quota=None)
    age(place)
    for name in ("stage_runs/9/1/8.safetensors", "stage_runs/1/1/.40.safetensors.77", "models/s/T0-8px-x.safetensors"):
        (place.files / name).parent.mkdir(parents=True, exist_ok=True)
        (place.files / name).write_bytes(b"12345")
    assert collect(place, store, quota=None).items == (), "a row may be on its way"
    age(place)
    done = collect(place, store, quota=None)
    assert {item.why for item in done.items} == {"no row names it"}
    assert done.freed == 15
    assert on_disk(place) == set(in_rows(store))
    assert not (place.files / "stage_runs" / "9").exists()


def test_samples_models_and_what_sweeps_start_from_are_named(store, ended, place):
    collect(place, store, quota=None)
    uris = ["evaluations/1/1/samples.png", "evaluations/1/1/parts.json", "models/s/m.safetensors"]
    for uri in uris:
        (place.files / uri).parent.mkdir(parents=True, exist_ok=True)
        (place.files / uri).write_bytes(b"1")
    with store.database.write.begin() as connection:
        samples = {"uri": uris[0], "parts": {"uri": uris[1]}}
        connection.execute(t.evaluations.update().where(t.evaluations.c.id == 1).values(samples=samples))
    trial = reads.trial(store.database, "s/T0")
    store.register_model(name="s", trial_id=trial.id, stage_run_id=1, uri=uris[2], sha256="", aliases=["best"])
    age(place)
    assert collect(place, store, quota=None).items == ()


def test_a_damaged_state_is_left_and_said(store, ended, place):
    collect(place, store, quota=None)
    (place.files / "stage_runs/1/1/40.safetensors").write_bytes(b"damaged")
    (place.files / "stage_runs/2/1/40.safetensors").unlink()
    done = collect(place, store, quota=0)
    assert [item.uri for item in done.items] == ["stage_runs/3/1/40.safetensors"]
    assert len(done.problems) == 2
    assert in_rows(store)["stage_runs/1/1/40.safetensors"] == "state"


def test_one_collection_at_a_time(store, ended, place):
    with collecting._alone(place), pytest.raises(UserError, match="being collected by another process"):
        collect(place, store, quota=0)
    assert set(in_rows(store).values()) == {"state"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("50GB", 50 * 10**9), ("1.5 TiB", 3 * 2**39), ("7kb", 7000), ("512MiB", 2**29), ("12", 12)],
)
def test_bytes_are_read(text, expected):
    assert read_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "5 parsecs", "1,5GB", "nan"])
def test_what_is_no_number_of_bytes_is_refused(text, place):
    with pytest.raises(UserError, match="write it like 50GB"):
        set_home_quota(place, text)
    assert home_quota(place) is None


def test_the_home_s_quota(place):
    set_home_quota(place, "50GB")
    assert home_quota(place) == 50 * 10**9
    set_home_quota(place, None)
    assert home_quota(place) is None


def test_a_running_scheduler_collects_by_itself(store, ended, place):
    set_home_quota(place, "0")
    thread = collecting.CollectorThread(place, store, every_seconds=0.0)
    thread.turn()
    thread.close()
    assert set(in_rows(store).values()) == {"ema"}
    waits = collecting.CollectorThread(place, store, every_seconds=100.0)
    waits.turn()
    waits.close()
    assert ema_uri("a/b.safetensors") == "a/b.ema.safetensors"
