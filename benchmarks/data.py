"""How fast data is prepared: 10,000 JPEGs of 250 px to 4, 8, 16, 32 and 64 px, goal under 40 s on two cores.

    python -m benchmarks.data            10,000 pictures, three rounds, about two minutes
    python -m benchmarks.data --quick    1,000 pictures, two rounds; the time is multiplied by ten

Measured is the wall time of `prepare` from source to prepared data: reading metadata, hashing files, decoding,
cropping, shrinking, writing, syncing. Also that of the check which notices a changed, added or removed file, and how
much is lost when a preparation is killed. Pictures are written before; the page cache is warm. Absolute times depend
on the machine and on what else it does, so the CPU time, the load, the rate of a convolution (one thread) and the time
of an fsync are printed beside them.

The pictures are smooth noise, compressed about as much as LFW's photographs (15 KB each). The last line of the output
is a JSON list, one entry for each figure of this run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.protocol import convolution_rate, set_threads, timed
from benchmarks.training import Figure, print_figures
from t2f.data import PrepareOptions, check_source, prepare

SIDE = 250
DIFFERENT = 100  # pictures that are drawn; the others are these with another comment in the file
GOAL_IMAGES = 10_000
OPTIONS = PrepareOptions(max_resolution=64, min_count=1)


def drawn(number: int) -> bytes:
    """A JPEG of smooth noise, as large as a photograph of that size."""
    noise = np.random.default_rng(number)
    coarse = Image.fromarray(noise.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)
    grain = noise.normal(0, 6, (SIDE, SIDE, 1))
    pixels = np.clip(np.asarray(coarse, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def write_source(root: Path, count: int) -> int:
    """An imagefolder of `count` pictures of different content; the mean size of a file."""
    (root / "faces").mkdir(parents=True)
    pictures = [drawn(number) for number in range(DIFFERENT)]
    lines = []
    for number in range(count):
        data = pictures[number % DIFFERENT]
        comment = f"picture {number}".encode()
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (root / "faces" / f"{number}.jpg").write_bytes(data[:2] + marker + data[2:])
        lines.append(json.dumps({"file_name": f"faces/{number}.jpg", "text": f"a face with the number {number}"}))
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return sum(map(len, pictures)) // len(pictures)


def fsync_seconds(folder: Path) -> float:
    """The median time of writing 4 KiB and having them on the disk."""
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        with (folder / "fsync").open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


RUN = (
    "import sys; from pathlib import Path; from benchmarks import data; from t2f.data import prepare; "
    "prepare(Path(sys.argv[1]), format='imagefolder', out=Path(sys.argv[2]), options=data.OPTIONS,"
    " progress=lambda done, total: print(done, flush=True))"
)


def decoded_again(source: Path, out: Path, count: int) -> int:
    """How many pictures a process had decoded when it was killed half way that have to be decoded again.

    Rows are noted every five seconds, so it is what a machine does in that time.
    """
    process = subprocess.Popen([sys.executable, "-c", RUN, source, out], stdout=subprocess.PIPE, text=True)
    killed_at = 0
    for line in process.stdout:
        killed_at = int(line)
        if killed_at >= count // 2:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    steps: list[int] = []
    prepare(source, format="imagefolder", out=out, options=OPTIONS, progress=lambda done, total: steps.append(done))
    return max(0, killed_at - steps[0])


def measure(folder: Path, count: int, rounds: int) -> list[Figure]:
    scale = GOAL_IMAGES / count
    mean_bytes = write_source(folder / "source", count)
    print(f"{count} pictures of {SIDE} px, {mean_bytes / 1000:.1f} KB each, {os.cpu_count()} cores")
    source, out = folder / "source", folder / "out"
    rates, syncs, times, checks = [], [], [], []
    for _ in range(rounds):
        rates.append(convolution_rate({"precision": "fp32"})["rate"])
        syncs.append(fsync_seconds(folder))
        times.append(timed(lambda: prepare(source, format="imagefolder", out=out, options=OPTIONS), 1))
        checks.append(timed(lambda: check_source(out), 1))
        shutil.rmtree(out)
    print(f"convolution rate {statistics.median(rates) / 1e9:.1f} GFLOP/s (fp32, one thread)")
    print(f"fsync of 4 KiB {statistics.median(syncs) * 1000:.2f} ms")
    print(f"load average {os.getloadavg()[0]:.1f}")
    for name, found in (("prepare", times), ("check", checks)):
        clocks = (", ".join(f"{one[clock]:.2f}" for one in found) for clock in ("wall", "cpu"))
        print("{}: wall {} s, CPU {} s".format(name, *clocks))
    figures = [
        Figure(
            goal="10,000 JPEGs of 250 px to 4..64 px: seconds",
            target=40,
            values=tuple(scale * one["wall"] for one in times),
            better="lower",
        ),
        Figure(
            goal="check of 10,000 unchanged files: seconds",
            target=2,
            values=tuple(scale * one["wall"] for one in checks),
            better="lower",
        ),
    ]
    if count == GOAL_IMAGES:  # a shorter run is over before its first rows are noted
        goal = "killed half way: pictures that are decoded again"
        lost = (float(decoded_again(source, out, count)),)
        figures.append(Figure(goal=goal, target=GOAL_IMAGES * 0.4, values=lost, better="lower"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 pictures, two rounds, under a minute")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of every measurement (default 3; quick: 2)")
    parser.add_argument("--folder", type=Path, default=None, help="on which disk (default: that of temporary files)")
    options = parser.parse_args()
    set_threads(1)  # of the convolution that is measured beside
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        count, rounds = (1000, options.rounds or 2) if options.quick else (GOAL_IMAGES, options.rounds or 3)
        figures = measure(Path(folder), count, rounds)
    print_figures(figures)
    print(json.dumps([figure.to_json() for figure in figures]))


if __name__ == "__main__":
    main()
