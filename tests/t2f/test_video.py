"""Videos that are read back frame by frame."""

import av
import numpy as np
import pytest
from PIL import Image

from t2f.errors import UserError
from t2f.video import write_video

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120)]


def frames(size=(50, 33)):
    return [Image.new("RGB", size, colour) for colour in COLOURS]


def test_an_mp4_plays_what_was_written(tmp_path):
    path = tmp_path / "new" / "v.mp4"
    assert write_video(path, iter(frames()), fps=12.5) == 4
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 50, 34)
        assert float(stream.average_rate) == 12.5
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(found) == 4
    for picture, colour in zip(found, COLOURS, strict=True):
        assert np.abs(picture.astype(int) - colour).max() < 8
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat"), "the index comes first"
    again = tmp_path / "again.mp4"
    write_video(again, iter(frames()), fps=12.5)
    assert again.read_bytes() == path.read_bytes()


def test_a_gif_repeats_for_ever(tmp_path):
    path = tmp_path / "v.gif"
    assert write_video(path, iter(frames()), fps=20) == 4
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["loop"], gif.info["duration"], gif.size) == (4, 0, 50, (50, 33))
        for number, colour in enumerate(COLOURS):
            gif.seek(number)
            assert gif.convert("RGB").getpixel((5, 5)) == colour


@pytest.mark.parametrize("name", ["v.mp4", "v.gif"])
def test_what_breaks_on_the_way_leaves_nothing(tmp_path, name):
    def broken():
        yield from frames()
        raise UserError("the model is gone")

    with pytest.raises(UserError, match="the model is gone"):
        write_video(tmp_path / name, broken(), fps=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "said"), [("v.avi", 10, r"end in \.mp4"), ("v", 10, "end in"), ("v.mp4", 0, "fps")]
)
def test_what_is_no_video_is_refused(tmp_path, name, fps, said):
    with pytest.raises(UserError, match=said):
        write_video(tmp_path / name, iter(frames()), fps=fps)
