"""One process that draws its share of the demo's faces: `python -m t2f.data.demo_worker < job.json`.

The job is {"folder": ..., "faces": [[file name, attributes], ...]}; a line "NUMBER" goes out for each batch drawn.
A plain child process and not multiprocessing, which imports the caller's script again and so fails in scripts without
an `if __name__ == "__main__"` and in scripts read from standard input.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from t2f.data.demo_faces import Painter

BATCH = 50


def draw_faces(folder: Path, faces: list[tuple[str, dict[str, str]]]) -> Iterator[int]:
    """Writes the faces as PNG files and yields after each batch how many it held."""
    painter = Painter()
    for start in range(0, len(faces), BATCH):
        batch = faces[start : start + BATCH]
        for file_name, attributes in batch:
            painter.draw(attributes).save(folder / file_name, "PNG")
        yield len(batch)


def main() -> None:
    job = json.load(sys.stdin)
    for drawn in draw_faces(Path(job["folder"]), job["faces"]):
        print(drawn, flush=True)


if __name__ == "__main__":
    main()
