"""Preparing goes on where a killed process was: real processes, killed with SIGKILL."""

import json
import signal
import subprocess
import sys
import time

import pytest

from t2f.data import cache
from t2f.data.options import PrepareOptions
from t2f.data.prepare import prepare
from t2f.errors import DataError
from tests.t2f.data.sources import write_source

COUNT = 60
OPTIONS = PrepareOptions(max_resolution=8, min_count=1, on_bad_image="skip")
# Prepares slowly, a picture a batch, and says how far it is; the rows are noted as soon as they are there.
SCRIPT = """
import sys, time
from pathlib import Path
from t2f.data import cache
from t2f.data.options import PrepareOptions
from t2f.data.prepare import prepare

cache.CHECKPOINT_SECONDS, cache._BATCH = 0.0, 4

def progress(done, total):
    print(done, flush=True)
    time.sleep(0.02)

options = PrepareOptions(max_resolution=8, min_count=1, on_bad_image="skip")
prepare(Path(sys.argv[1]), format="imagefolder", out=Path(sys.argv[2]), options=options, threads=1, progress=progress)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = write_source(tmp_path_factory.mktemp("cache") / "source", COUNT)
    (root / "faces" / "3.png").write_bytes(b"no picture")
    return root


def killed_at(source, out, done):
    """Starts a process that prepares, and kills it once it has said that so many pictures are done."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, source, out], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) >= done:
            break
    process.kill()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


def drafts(out):
    return sorted(path.name for path in out.parent.glob(f".{out.name}.*.draft"))


def decoded(monkeypatch):
    """The names of the pictures that are decoded from now on."""
    seen, real = [], cache._decode
    monkeypatch.setattr(cache, "_decode", lambda example, *more: seen.append(example.image_id) or real(example, *more))
    return seen


def test_a_killed_preparation_goes_on_where_it_was(source, tmp_path, monkeypatch):
    whole = prepare(source, format="imagefolder", out=tmp_path / "whole", options=OPTIONS)
    out = tmp_path / "out"
    killed_at(source, out, 20)
    assert not out.exists()
    (draft,) = drafts(out)
    noted = json.loads((tmp_path / draft / cache.PROGRESS).read_text())
    assert noted["done"] >= 20
    assert [place for place, _ in noted["bad"]] == [3]
    killed_at(source, out, 40)
    assert drafts(out) == [draft]
    seen, steps = decoded(monkeypatch), []
    data = prepare(
        source, format="imagefolder", out=out, options=OPTIONS, progress=lambda done, total: steps.append(done)
    )
    assert len(seen) <= COUNT - 40
    assert seen == [f"faces/{number}.png" for number in range(COUNT - len(seen), COUNT)]
    assert (steps[0], steps[-1]) == (COUNT - len(seen), COUNT)
    assert data.manifest == whole.manifest  # which holds the hash of every file
    data.verify()
    assert drafts(out) == []


def test_rows_that_are_not_all_there_are_written_again(source, tmp_path, monkeypatch):
    whole = prepare(source, format="imagefolder", out=tmp_path / "whole", options=OPTIONS)
    out = tmp_path / "out"
    killed_at(source, out, 20)
    (draft,) = drafts(out)
    rows = tmp_path / draft / "train_8.npy"
    rows.write_bytes(rows.read_bytes()[:500])
    seen = decoded(monkeypatch)
    assert prepare(source, format="imagefolder", out=out, options=OPTIONS).manifest == whole.manifest
    assert len(seen) == COUNT


def test_what_was_left_of_other_content_goes(source, tmp_path):
    out = tmp_path / "out"
    killed_at(source, out, 20)
    other = PrepareOptions(max_resolution=4, min_count=1, on_bad_image="skip")
    assert prepare(source, format="imagefolder", out=out, options=other).resolutions == (4,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_two_at_once_do_not_mix(source, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, source, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    with pytest.raises(DataError, match="another process is writing .*out from the same data; wait for it"):
        prepare(source, format="imagefolder", out=out, options=OPTIONS)
    assert process.stdout.read().endswith(f"{COUNT}\n")
    assert process.wait() == 0
    process.stdout.close()
    assert out.is_dir()


def test_ctrl_c_keeps_what_was_done_and_an_error_does_not(source, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(cache, "_BATCH", 8)
    out = tmp_path / "new" / "out"

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, format="imagefolder", out=out, options=OPTIONS, progress=interrupt)
    assert len(drafts(out)) == 1
    with pytest.raises(DataError, match="1 of 60 images cannot be used"):
        prepare(source, format="imagefolder", out=out, options=PrepareOptions(max_resolution=8, min_count=1))
    assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []


def test_a_picture_that_changes_meanwhile_is_noticed(tmp_path):
    source = write_source(tmp_path / "source", 12)

    def touch(done, total):
        (source / "faces" / "5.png").write_bytes((source / "faces" / "6.png").read_bytes())

    with pytest.raises(DataError, match=r"1 files in .*source changed while they were prepared, such as faces/5\.png"):
        prepare(source, format="imagefolder", out=tmp_path / "out", options=OPTIONS, progress=touch)
    assert not (tmp_path / "out").exists()


def test_progress_is_noted_from_time_to_time(source, tmp_path, monkeypatch):
    notes, clock = [], iter(range(10_000))
    monkeypatch.setattr(cache, "_BATCH", 10)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))  # a second a look
    monkeypatch.setattr(cache, "CHECKPOINT_SECONDS", 2.0)
    real = cache._note_progress
    monkeypatch.setattr(
        cache, "_note_progress", lambda folder, done, bad: notes.append(done) or real(folder, done, bad)
    )
    prepare(source, format="imagefolder", out=tmp_path / "out", options=OPTIONS, threads=1)
    assert notes[-1] == COUNT
    assert 2 <= len(notes) < 6
