"""Frames into a file that plays everywhere: H.264 in an MP4, or an animated GIF.

N faces, R resolution in px
"""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from t2f.data.files import writing
from t2f.errors import UserError

SUFFIXES = (".mp4", ".gif")


def checked_video(path: Path, fps: float) -> None:
    """UserError where no video could be written so."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no name for a video; let it end in {' or '.join(SUFFIXES)}")
    if not 1 <= fps <= 60:
        raise UserError(f"--fps {fps:g} is not allowed; it must be from 1 to 60")


def write_video(path: Path, frames: Iterable[Image.Image], *, fps: float) -> int:
    """Write the frames, which are all of one size, and return how many; the file is there whole or not at all."""
    checked_video(path, fps)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    write = _write_mp4 if path.suffix.lower() == ".mp4" else _write_gif
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            count = write(unfinished, frames, fps)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return count


def _write_mp4(path: Path, frames: Iterable[Image.Image], fps: float) -> int:
    count, rate = 0, Fraction(fps).limit_denominator(1000)
    # faststart: the index comes first, so that a browser plays before it has the whole file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        # One thread: the same frames then give the same file.
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        for picture in frames:
            pixels = _even(np.asarray(picture.convert("RGB")))
            if count == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count


def _even(pixels_HW3: np.ndarray) -> np.ndarray:
    """One more row or column where H.264's half-size colour planes need it."""
    height, width = pixels_HW3.shape[:2]
    return np.pad(pixels_HW3, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _write_gif(path: Path, frames: Iterable[Image.Image], fps: float) -> int:
    counted = _Counted(frames)
    first = next(counted)
    # GIF counts in hundredths of a second; less than two of them players slow down to ten.
    milliseconds = max(2, round(100 / fps)) * 10
    first.save(path, format="GIF", save_all=True, append_images=counted, duration=milliseconds, loop=0)
    return counted.count


class _Counted(Iterator[Image.Image]):
    """Frames for a GIF: each with its own 256 colours, and counted as they go by."""

    def __init__(self, frames: Iterable[Image.Image]) -> None:
        self._frames = iter(frames)
        self.count = 0

    def __next__(self) -> Image.Image:
        picture = next(self._frames)
        self.count += 1
        return picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
