import io
from pathlib import Path

import pytest
from PIL import Image

from dashboard.samples import MissingFileError, below, thumbnail
from tests.dashboard.faces import sample_png


@pytest.mark.parametrize(
    "uri", ["../secret", "a/../../secret", "/etc/passwd", "link", "missing.png", "", ".", "nul\0", "x" * 5000, "folder"]
)
def test_only_existing_files_below_the_folder_are_found(tmp_path: Path, uri: str) -> None:
    files = tmp_path / "files"
    (files / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (files / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(MissingFileError):
        below(files, uri)


def test_a_file_below_is_found(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "1.png").write_bytes(b"x")
    assert below(tmp_path, "samples/1.png").read_bytes() == b"x"


def test_a_thumbnail_has_the_first_face_of_four_captions(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(sample_png(8))
    with Image.open(path) as wall, Image.open(io.BytesIO(thumbnail(path, 8))) as small:
        assert small.size == (32, 8)
        for row in range(4):
            assert list(small.crop((row * 8, 0, row * 8 + 8, 8)).tobytes()) == list(
                wall.crop((0, row * 8, 8, row * 8 + 8)).tobytes()
            )


def test_what_is_no_png_has_no_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_text("<html>")
    with pytest.raises(MissingFileError):
        thumbnail(path, 8)
