"""Small sources of random pictures for the tests of preparing."""

import json

import numpy as np
from PIL import Image

PICTURE_SIDE = 32
COLOURS = ("red", "blue", "green")


def write_pictures(root, *names, seed=1):
    """Noisy pictures of these names."""
    random = np.random.default_rng(seed)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (PICTURE_SIDE, PICTURE_SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def write_source(root, count=12, *, side=PICTURE_SIDE, splits=True, attributes=True):
    """An imagefolder of `count` noisy pictures with two captions each, every fourth of them held out."""
    (root / "faces").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = []
    for number in range(count):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "faces" / f"{number}.png")
        colour = COLOURS[number % 3]
        entry = {"file_name": f"faces/{number}.png", "texts": [f"{colour} hair.", f"a person with {colour} hair"]}
        if splits:
            entry["split"] = {2: "validation", 3: "test"}.get(number % 4, "train")
        if attributes:
            entry["attributes"] = {"hair": colour, "age": "old" if number % 2 else "young"}
        lines.append(json.dumps(entry))
    (root / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return root
