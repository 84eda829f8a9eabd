import json
import subprocess
import sys
from collections import Counter

import pytest
from PIL import Image

from t2f.data import demo
from t2f.data.demo import render_demo, split_of
from t2f.data.readers import read_source
from t2f.errors import DataError


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "faces"
    return out, render_demo(out, count=24, seed=5, processes=1)


def test_it_is_an_imagefolder_with_known_attributes(rendered):
    out, summary = rendered
    examples = read_source("imagefolder", out)
    assert len(examples) == summary.count == 24
    assert summary.captions == sum(len(example.captions) for example in examples) == 96
    assert Counter(example.split for example in examples) == summary.split_sizes
    assert len({tuple(example.attributes.items()) for example in examples}) == 24
    with Image.open(examples[7].path) as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))
    first = json.loads((out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(first) == ["file_name", "texts", "split", "attributes"]


def test_same_seed_same_bytes_also_with_two_processes(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_FACES_WORTH_A_PROCESS", 10)
    seen = []
    render_demo(tmp_path / "b", count=24, seed=5, processes=2, progress=lambda done, total: seen.append((done, total)))
    assert contents(tmp_path / "b") == contents(rendered[0])
    assert seen[-1] == (24, 24)
    assert render_demo(tmp_path / "c", count=24, seed=6, processes=1).split_sizes == rendered[1].split_sizes
    assert contents(tmp_path / "c") != contents(rendered[0])


def test_an_earlier_render_is_reused(rendered, monkeypatch):
    monkeypatch.setattr(demo, "Painter", None)  # would fail if anything were drawn
    assert render_demo(rendered[0], count=24, seed=5).reused


def test_a_damaged_or_different_render_of_ours_is_drawn_again(tmp_path):
    out = tmp_path / "faces"
    render_demo(out, count=14, seed=0, processes=1)
    (out / "images" / "000003.png").unlink()
    assert not render_demo(out, count=14, seed=0, processes=1).reused
    assert (out / "images" / "000003.png").is_file()
    assert not render_demo(out, count=15, seed=0, processes=1).reused
    assert len(list((out / "images").iterdir())) == 15
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_a_folder_of_others_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        render_demo(tmp_path, count=14)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(DataError, match="is a file"):
        render_demo(tmp_path / "thesis.txt", count=14)


@pytest.mark.parametrize(
    "wrong", [{"count": 3}, {"count": 10**6}, {"count": True}, {"seed": -1}, {"count": 20, "processes": 0}]
)
def test_wrong_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match="is not allowed; it must be a whole number from"):
        render_demo(tmp_path / "faces", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(DataError, match=r'pip install "t2f\[demo\]"'):
        render_demo(tmp_path / "faces", count=14)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_process_is_reported_and_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_FACES_WORTH_A_PROCESS", 10)
    monkeypatch.setattr(demo, "draw_combinations", lambda count, seed: [{"skin": "green"}] * count)
    monkeypatch.setattr(demo, "describe", lambda attributes, seed, number: ["a green face"])
    with pytest.raises(DataError, match="drawing the demo faces failed"):
        render_demo(tmp_path / "faces", count=24, processes=2)
    assert list(tmp_path.iterdir()) == []


def test_splits_of_the_default_count():
    assert Counter(split_of(number, 7000) for number in range(7000)) == {"train": 6000, "validation": 500, "test": 500}


def test_data_imports_no_torch():
    code = "import sys, t2f.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
