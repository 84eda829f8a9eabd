"""Noise in the background against the number of training faces, with and without augmentation of what D sees.

    python -m benchmarks.noise                          32 px, 250, 1,000 and 5,600 faces, 2.5 CPU minutes each
    python -m benchmarks.noise --quick                  to see that it works, under a minute

The T2F article saw noise in the background at 32 and 64 px and blamed too little data. Here the demo's background is
one colour, so every detail that a generator draws there is noise: the absolute finest level of the Laplacian pyramid
(ProGAN section 5) of the median face, in units of 1/255, over the pixels where the median real face has none. Each row
is the preset `small` with as many images shown; only the number of different faces behind them and `augment.method`
differ. The SWD is against held-out faces of the whole set. What is measured is kept, and a training goes on where it
was, when the command is given again. The last line is a JSON list.
"""

import argparse
import json
import os
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
from torch import Tensor

from benchmarks.demo import CACHE, QUICK, WHOLE, demo_data, images_of, kept, recipe_of, seconds_per_image, train
from benchmarks.faces import numbers
from benchmarks.goals import entry
from t2f.data import PreparedData
from t2f.device import configure
from t2f.drawing import draw, noise
from t2f.metrics.wasserstein import image_distance, laplacian_pyramid
from t2f.networks import FaceModel
from t2f.pairs import Pairs, reference_pairs, right_captions
from t2f.reading import data_reader
from t2f.settings import PRESETS
from t2f.spec import RESOLUTIONS, TRAINING_VERSION, StageSpec, TrainingSpec
from t2f.trainfile import planned

AUGMENTATIONS = ("none", "diffaugment")
QUIET = 0.5  # of 255: where the median real face has less detail than this is background


def finest_detail(images_N3RR: Tensor) -> Tensor:
    """detail_RR: the absolute finest Laplacian level, averaged over channels, of the median image, in units of 1/255.

    The median, because long hair covers the corners of some faces.
    """
    return laplacian_pyramid(images_N3RR.float())[0].abs().mean(dim=1).median(dim=0).values


def background_noise(images_N3RR: Tensor, background_RR: Tensor) -> float:
    return float(finest_detail(images_N3RR)[background_RR].mean())


def drawn(model: FaceModel, stage: StageSpec, data: PreparedData, pairs: Pairs) -> Tensor:
    """A face for each pair's caption."""
    captions = right_captions(data.split("test"), pairs, data_reader(stage, data))
    return draw(model, captions, noise(model, "evaluation", len(pairs.image_N)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sizes, seconds of training: under a minute")
    parser.add_argument("--minutes", type=float, default=2.5, help="CPU minutes of one training without augmentation")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[3:5], default=32, help="of the last stage, px")
    parser.add_argument("--faces", type=numbers, default=(250, 1000, 5600), help="training faces")
    parser.add_argument("--captions", type=int, default=1000, help="faces that are drawn and measured")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    made = WHOLE
    if options.quick:
        options.minutes, options.faces, options.captions = 0.05, (100, 400), 100
        made = {**QUICK, "resolution": 32}
    configure(threads=1)
    # A tenth each is held out for validation and test; the largest set's test faces are everybody's reals.
    sets = {
        int(size): demo_data(options.cache, **{**made, "faces": round(size / 0.8)}) for size in sorted(options.faces)
    }
    whole = sets[max(sets)]
    pairs = reference_pairs(whole.split("test"), options.captions)
    reals = torch.from_numpy(whole.split("test").images(options.resolution)[pairs.image_N])
    background_RR = finest_detail(reals) < QUIET
    print(
        f"background: {int(background_RR.sum())} of {background_RR.numel()} px; reals there: "
        f"{background_noise(reals, background_RR):.2f}"
    )
    name = f"{options.resolution}px-{options.minutes:g}-{options.captions}-v{TRAINING_VERSION}-{whole.key[:8]}"
    folder = None if options.quick else options.cache.parent / "noise" / name
    small = recipe_of(PRESETS["small"], options.resolution)
    costs = kept(folder and folder / "costs.json", partial(seconds_per_image, small, whole))
    images = images_of(planned("small", "images", len(costs)), costs, 60 * options.minutes)
    print(f"images of each stage: {images}\n| training faces | augmentation | noise (1/255) | SWD |\n|---|---|---|---|")
    found: dict[tuple[int, str], float] = {}
    for size, data in sets.items():
        for method in AUGMENTATIONS:
            values = {**PRESETS["small"], "augment.method": method}
            spec = recipe_of(values, options.resolution).spec(data, images=images, seed=0)
            place = folder and folder / f"{size}-{method}"

            def measured(
                spec: TrainingSpec = spec, data: PreparedData = data, place: Path | None = place
            ) -> list[float]:
                own = reference_pairs(data.split("test"), options.captions)
                fakes = drawn(train(spec, data, place).model, spec.stages()[-1], data, own)
                return [background_noise(fakes, background_RR), image_distance(reals, fakes)]

            found[size, method], distance = kept(place and place.with_suffix(".json"), measured)
            print(f"| {size} | {method} | {found[size, method]:.2f} | {distance:.1f} |", flush=True)
    few, many = min(sets), max(sets)
    figures = {
        f"noise with {few} training faces over that with {many}": found[few, "none"] / found[many, "none"],
        **{
            f"noise with diffaugment over without, {size} faces": found[size, "diffaugment"] / found[size, "none"]
            for size in sets
        },
    }
    print(json.dumps([entry(goal, 1.0, value, "lower") for goal, value in figures.items()]))


if __name__ == "__main__":
    main()
