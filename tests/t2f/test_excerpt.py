"""A part of a safetensors file: the same bits, read back by the library itself."""

import pytest
import torch

from t2f.checkpoint import file_sha256, load_tensors, save_tensors
from t2f.errors import CheckpointError
from t2f.excerpt import excerpt_bytes, write_excerpt


@pytest.fixture
def whole(tmp_path):
    tensors = {
        "generator.w": torch.randn(3, 5),
        "ema.b": torch.arange(7, dtype=torch.int64),
        "ema.half": torch.randn(2, 3).to(torch.bfloat16),
        "ema.empty": torch.zeros(0),
        "optimizer.step": torch.tensor(3.0),
        "ema.w": torch.randn(300, 500),
    }
    saved = save_tensors(tmp_path / "whole.safetensors", tensors, {"key": "k", "step": 3})
    return saved, tensors


def test_the_tensors_are_the_same_bits_with_the_same_metadata(whole, tmp_path):
    saved, tensors = whole
    target = tmp_path / "deep" / "er" / "part.safetensors"
    written = write_excerpt(saved.path, target, prefix="ema.", sha256=saved.sha256)
    found, metadata = load_tensors(target, sha256=written.sha256)
    assert set(found) == {"ema.b", "ema.half", "ema.empty", "ema.w"}
    assert all(torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in found)
    assert metadata == {"key": "k", "step": 3}
    assert written.num_bytes == target.stat().st_size == excerpt_bytes(saved.path, prefix="ema.")
    assert written.sha256 == file_sha256(target)
    assert [path.name for path in target.parent.iterdir()] == ["part.safetensors"]


def test_an_excerpt_of_an_excerpt_is_itself(whole, tmp_path):
    saved, _ = whole
    first = write_excerpt(saved.path, tmp_path / "1", prefix="ema.", sha256=saved.sha256)
    second = write_excerpt(tmp_path / "1", tmp_path / "2", prefix="ema.", sha256=first.sha256)
    assert first == second


def test_what_is_damaged_missing_or_something_else_is_refused_and_leaves_nothing(whole, tmp_path):
    saved, _ = whole
    saved.path.write_bytes(saved.path.read_bytes()[:-1])
    text = tmp_path / "text"
    text.write_text("this is no safetensors file")
    lies = tmp_path / "lies"
    lies.write_bytes((9).to_bytes(8, "little") + b"{not json")
    for path, sha256, message in (
        (saved.path, saved.sha256, "is damaged"),
        (tmp_path / "nowhere", "0" * 64, "cannot be read"),
        (text, file_sha256(text), "no safetensors file"),
        (lies, file_sha256(lies), "its header cannot be read"),
    ):
        with pytest.raises(CheckpointError, match=message):
            write_excerpt(path, tmp_path / "target", prefix="ema.", sha256=sha256)
    assert not (tmp_path / "target").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_full_leaves_no_draft(whole, tmp_path, monkeypatch):
    saved, _ = whole

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("t2f.excerpt.sync", full)
    with pytest.raises(OSError, match="No space"):
        write_excerpt(saved.path, tmp_path / "target", prefix="ema.", sha256=saved.sha256)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.safetensors"]
