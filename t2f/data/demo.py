"""The demo data: cartoon faces with exactly known attributes and several captions each, drawn on this machine."""

import json
import logging
import os
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from t2f.data.demo_captions import CAPTIONS_PER_IMAGE, describe
from t2f.data.demo_faces import NUM_COMBINATIONS, Painter, draw_combinations
from t2f.data.demo_worker import draw_faces
from t2f.data.files import new_folder, read_json, sha256_of_file, write_json
from t2f.errors import DataError

# Raised when the pictures or captions of a seed change.
DEMO_VERSION = 1
MARKER = "demo.json"
MIN_COUNT = 14  # one face in 14 is for validation and one for testing
MAX_SEED = 2**32 - 1
_FACES_WORTH_A_PROCESS = 150

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What lies in the folder."""

    path: Path
    count: int
    seed: int
    captions: int
    split_sizes: dict[str, int]  # split to number of images
    reused: bool  # an earlier render of the same faces was found, nothing was drawn


def render_demo(
    out: Path,
    *,
    count: int = 7000,
    seed: int = 0,
    processes: int | None = None,
    progress: Progress | None = None,
) -> DemoSummary:
    """A folder of `count` 64 px faces in the imagefolder convention; the same bytes for the same count and seed.

    No two faces have the same attributes, so captions of the validation and test splits ask for unseen combinations.
    progress(faces drawn, count) is called from time to time. processes: None takes one for each core.
    """
    check_render(out, count=count, seed=seed)
    if processes is not None:
        _check_number("processes", processes, 1, 256)
    out = Path(os.path.abspath(out))
    if _is_complete(out, count, seed):
        return _summary(out, count, seed, reused=True)
    Painter()  # says what is missing before anything is written

    entries = [
        _entry(attributes, number, count, seed) for number, attributes in enumerate(draw_combinations(count, seed))
    ]
    with new_folder(out) as folder:
        (folder / "images").mkdir()
        _draw_all(folder, entries, processes or os.cpu_count() or 1, progress)
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
        metadata_sha256 = sha256_of_file(folder / "metadata.jsonl")
        write_json(folder / MARKER, _marker(count, seed) | {"metadata_sha256": metadata_sha256})
    return _summary(out, count, seed, reused=False)


def check_render(out: Path, *, count: int, seed: int) -> None:
    """DataError where `render_demo` would refuse the same arguments."""
    _check_number("count", count, MIN_COUNT, NUM_COMBINATIONS)
    _check_number("seed", seed, 0, MAX_SEED)
    _refuse_foreign(Path(os.path.abspath(out)))


def split_of(number: int, count: int) -> str:
    """The split of face `number`: 6,000 of 7,000 for training, the rest shared by validation and test."""
    held_out = count // 14
    if number < count - 2 * held_out:
        return "train"
    return "validation" if number < count - held_out else "test"


def _entry(attributes: dict[str, str], number: int, count: int, seed: int) -> dict[str, object]:
    return {
        "file_name": f"images/{number:06d}.png",
        "texts": describe(attributes, seed=seed, number=number),
        "split": split_of(number, count),
        "attributes": attributes,
    }


def _summary(out: Path, count: int, seed: int, *, reused: bool) -> DemoSummary:
    return DemoSummary(
        path=out,
        count=count,
        seed=seed,
        captions=count * CAPTIONS_PER_IMAGE,
        split_sizes=dict(Counter(split_of(number, count) for number in range(count))),
        reused=reused,
    )


# The folder


def _marker(count: int, seed: int) -> dict[str, object]:
    return {"demo_version": DEMO_VERSION, "count": count, "seed": seed}


def _is_complete(out: Path, count: int, seed: int) -> bool:
    metadata = out / "metadata.jsonl"
    if not (out / MARKER).is_file() or not metadata.is_file():
        return False
    found = read_json(out / MARKER)
    if not isinstance(found, dict) or found != _marker(count, seed) | {"metadata_sha256": sha256_of_file(metadata)}:
        return False
    names = {f"{number:06d}.png" for number in range(count)}
    return (out / "images").is_dir() and names <= set(os.listdir(out / "images"))


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give a folder that is empty or does not exist yet")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise DataError(
            f"{out} is not empty and holds no earlier demo render ({MARKER} is missing); "
            "give a folder that is empty or does not exist yet"
        )


def _check_number(name: str, value: object, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise DataError(f"{name} = {value!r} is not allowed; it must be a whole number from {lowest} to {highest}")


# Drawing


def _draw_all(folder: Path, entries: list[dict], processes: int, progress: Progress | None) -> None:
    faces = [(entry["file_name"], entry["attributes"]) for entry in entries]
    processes = min(processes, max(1, len(faces) // _FACES_WORTH_A_PROCESS))
    batches = draw_faces(folder, faces) if processes == 1 else _draw_in_processes(folder, faces, processes)
    drawn = 0
    for number in batches:
        drawn += number
        if progress is not None:
            progress(drawn, len(faces))


def _draw_in_processes(folder: Path, faces: list[tuple[str, dict[str, str]]], processes: int) -> Iterator[int]:
    """Yields the number of faces in each batch that any process has drawn."""
    batches: queue.Queue[int | None] = queue.Queue()
    workers = [_start_worker() for _ in range(processes)]
    try:
        with ThreadPoolExecutor(processes) as listeners:
            shares = [faces[place::processes] for place in range(processes)]
            results = [
                listeners.submit(_listen, worker, folder, share, batches)
                for worker, share in zip(workers, shares, strict=True)
            ]
            ended = 0
            while ended < processes:
                number = batches.get()
                if number is None:
                    ended += 1
                else:
                    yield number
            for result in results:
                result.result()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _start_worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "t2f.data.demo_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _listen(
    worker: subprocess.Popen[str], folder: Path, share: list[tuple[str, dict[str, str]]], batches: queue.Queue
) -> None:
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stderr is not None
        with worker.stdin, worker.stdout, worker.stderr:
            json.dump({"folder": str(folder), "faces": share}, worker.stdin)
            worker.stdin.close()
            for line in worker.stdout:
                batches.put(int(line))
            said = worker.stderr.read()
        if worker.wait() != 0:
            raise DataError(f"drawing the demo faces failed: {said.strip()[-500:] or 'the process was killed'}")
    finally:
        batches.put(None)
