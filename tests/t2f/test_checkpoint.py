"""Files of tensors: whole or not there, and never trusted blindly."""

import pickle
import resource
import signal

import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256, write_durably
from t2f.errors import CheckpointError

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.tensor(3),
    "c": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
}


def test_what_is_saved_is_loaded(tmp_path):
    saved = save_tensors(tmp_path / "deep" / "x.safetensors", TENSORS, {"step": 3})
    tensors, metadata = load_tensors(saved.path, sha256=saved.sha256)
    assert metadata == {"step": 3}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert saved.num_bytes == saved.path.stat().st_size
    assert tensors_sha256(tensors) == tensors_sha256(TENSORS)
    assert [path.name for path in saved.path.parent.iterdir()] == ["x.safetensors"]


def test_equal_content_gives_equal_files(tmp_path):
    one = save_tensors(tmp_path / "1", TENSORS, {"a": 1, "b": 2})
    two = save_tensors(tmp_path / "2", dict(reversed(TENSORS.items())), {"b": 2, "a": 1})
    assert one.sha256 == two.sha256


def test_the_hash_sees_names_shapes_types_and_bits():
    base = tensors_sha256({"x": torch.zeros(4)})
    others = [{"y": torch.zeros(4)}, {"x": torch.zeros(2, 2)}, {"x": torch.zeros(4).int()}, {"x": -torch.zeros(4)}]
    assert len({base, *map(tensors_sha256, others)}) == 5


@pytest.mark.parametrize("damage", ["truncated", "flipped", "pickle", "empty", "foreign", "huge header", "missing"])
def test_damaged_and_foreign_files_are_refused_in_one_sentence(tmp_path, damage):
    saved = save_tensors(tmp_path / "x.safetensors", TENSORS, {})
    content = saved.path.read_bytes()
    changed = {
        "truncated": content[:-10],
        "flipped": content[:-1] + bytes([content[-1] ^ 1]),
        "pickle": pickle.dumps({"a": 1}),
        "empty": b"",
        "foreign": content.replace(b'"t2f"', b'"abc"'),
        "huge header": (1 << 60).to_bytes(8, "little") + b"{}",
        "missing": None,
    }[damage]
    saved.path.unlink()
    if changed is not None:
        saved.path.write_bytes(changed)
    with pytest.raises(CheckpointError) as caught:
        load_tensors(saved.path, sha256=saved.sha256 if damage == "flipped" else None)
    assert "x.safetensors" in str(caught.value)


def test_a_disk_that_is_full_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "x"
    write_durably(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            write_durably(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
