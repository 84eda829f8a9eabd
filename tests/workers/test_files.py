"""Files below a home."""

import pytest

from t2f.errors import CheckpointError
from workers.files import Files, checkpoint_uri, samples_uri


def test_what_is_put_is_there_with_its_hash(tmp_path):
    files = Files(tmp_path)
    stored = files.put(samples_uri(3, 1), b"picture")
    assert files.path(stored.uri).read_bytes() == b"picture"
    assert stored.num_bytes == 7
    assert stored == files.stored(stored.uri)
    assert files.path(stored.uri).is_relative_to(tmp_path / "files")


def test_attempts_never_share_a_path():
    assert len({checkpoint_uri(1, a, i) for a in (1, 2) for i in (10, 20)}) == 4


@pytest.mark.parametrize("uri", ["../x", "/etc/passwd", "a/../../x", "models/../../../x"])
def test_a_uri_cannot_lead_elsewhere(tmp_path, uri):
    with pytest.raises(CheckpointError, match="does not lie in the files folder"):
        Files(tmp_path).path(uri)
