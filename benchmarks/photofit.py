"""Whether a photofit converges: simulated witnesses who keep the faces nearest to one that only they know.

    python -m benchmarks.photofit               100 witnesses of a model of its own, which it trains the first time
    python -m benchmarks.photofit MODEL DATA    of a trained bundle and its prepared data set
    python -m benchmarks.photofit --quick       10 witnesses at 8 px, under a minute

A witness says one caption of a held-out picture and keeps, in each
generation, the faces nearest to what was seen, in pixels. What was seen is, in turn, a face that the model itself draws
for another caption of that picture, which it can reach, and the picture itself, which it can only come near to. The
comparison looks at as many random faces for the same caption and takes the nearest. The last line of the output is a
JSON list, one entry for each figure.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.demo import demo_model
from benchmarks.goals import entry
from t2f import photofit
from t2f.data import PreparedData
from t2f.generate import Bundle, open_bundle

FACES, GENERATIONS, KEPT = 8, 10, 2

Distance = Callable[[np.ndarray], np.ndarray]  # of faces, float32 noise_NZ, to what was seen


def distance_to(bundle: Bundle, text_E: torch.Tensor, target_3RR: np.ndarray) -> Distance:
    """The root of the mean squared difference of pixels, 0 to 255."""

    def distance(noise_NZ: np.ndarray) -> np.ndarray:
        faces = bundle.draw_latents(bundle.latents(text_E, torch.from_numpy(noise_NZ))).astype(np.float32)
        return np.sqrt(((faces - target_3RR) ** 2).mean(axis=(1, 2, 3)))

    return distance


def witness(bundle: Bundle, words: str, distance: Distance, seed: int) -> list[float]:
    """The nearest face of each generation."""
    session = photofit.start(
        model_sha256=bundle.sha256, latent_size=bundle.model.latent_size, words=words, faces=FACES, seed=seed
    )
    nearest = []
    for _ in range(GENERATIONS):
        distance_N = distance(session.noise())
        nearest.append(float(distance_N.min()))
        session = session.next(keep=[int(place) + 1 for place in distance_N.argsort()[:KEPT]])
    return nearest


def random_faces(bundle: Bundle, distance: Distance, seed: int) -> float:
    """The nearest of as many faces as a witness looks at."""
    random = np.random.default_rng([1, seed])
    noise_NZ = random.standard_normal((FACES * GENERATIONS, bundle.model.latent_size), dtype=np.float32)
    return float(distance(noise_NZ).min())


def compare(bundle: Bundle, data: PreparedData, witnesses: int, *, own: bool) -> tuple[list[list[float]], list[float]]:
    """For each witness the nearest face of each generation, and the nearest of the random ones."""
    split = data.split("validation")
    pictures = split.images(bundle.resolution)
    random, rows, others = np.random.default_rng(0), [], []
    for number in range(witnesses):
        image = int(random.choice(split.captioned_N))
        first, last = split.caption_offsets[image], split.caption_offsets[image + 1] - 1
        words = split.captions[first]
        seen = bundle.draw([split.captions[last]], seeds=[1000 + number])[0] if own else np.asarray(pictures[image])
        distance = distance_to(bundle, bundle.embed([words])[0], seen.astype(np.float32))
        rows.append(witness(bundle, words, distance, number))
        others.append(random_faces(bundle, distance, number))
    return rows, others


def mean_entry(goal: str, target: float, values: list[float]) -> dict[str, object]:
    """The mean with its 95 % interval."""
    mean, half = statistics.mean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return entry(goal, target, mean, "higher", low=mean - half, high=mean + half, n=len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a trained bundle; default: a model of its own")
    parser.add_argument("data", type=Path, nargs="?", help="the bundle's prepared data set")
    parser.add_argument("--quick", action="store_true", help="10 witnesses at 8 px, under a minute")
    parser.add_argument("--witnesses", type=int, default=100)
    options = parser.parse_args()
    witnesses = 10 if options.quick else options.witnesses
    if (options.model is None) != (options.data is None):
        parser.error("MODEL and DATA go together")
    torch.set_num_threads(1)
    if options.model is None:
        bundle, data = demo_model(quick=options.quick)
    else:
        bundle, data = open_bundle(options.model), PreparedData.open(options.data)
    entries = []
    for own, name in ((True, "a face of the model"), (False, "a held-out picture")):
        rows, others = compare(bundle, data, witnesses, own=own)
        by_generation = " ".join(f"{statistics.mean(column):.1f}" for column in zip(*rows, strict=True))
        print(f"{name}: nearest of each generation {by_generation}; of {FACES * GENERATIONS} random faces ", end="")
        print(f"{statistics.mean(others):.1f}", flush=True)
        nearer = [other - row[-1] for row, other in zip(rows, others, strict=True)]
        wins = [float(difference > 0) for difference in nearer]
        entries.append(mean_entry(f"{name}: grey levels nearer than the nearest random face", 0.0, nearer))
        entries.append(mean_entry(f"{name}: witnesses who end nearer", 0.5, wins))
    print(json.dumps(entries))


if __name__ == "__main__":
    main()
