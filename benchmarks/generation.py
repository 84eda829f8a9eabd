"""How fast faces are drawn: in batches, the first of a warm process, and by the command from nothing.

    python -m benchmarks.generation            all figures, about two minutes
    python -m benchmarks.generation --quick    fewer rounds, under a minute

The network is that of the preset `small` at 64 px, untrained: speed does not depend on the weights. Rounds of the
convolution rate and of drawing follow each other in one process, and the share is taken inside a round, of CPU times;
faces a second are of wall time, on as many threads as --threads says. Each opening and each first face has a process of
its own. The last line of the output is a JSON list, one entry for each figure.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.protocol import convolution_rate, set_threads, timed

FACES = 512
SENTENCE = "a smiling woman with short grey hair"

# In a process of its own: how long a bundle takes to open and to draw its first face, torch being there.
FRESH = """
import json, sys, time
import torch
from pathlib import Path
from t2f.generate import open_bundle
torch.set_num_threads(int(sys.argv[2]))
begun = time.perf_counter()
bundle = open_bundle(Path(sys.argv[1]))
opened = time.perf_counter()
bundle.draw([sys.argv[3]], seeds=[0])
print(json.dumps({"open": opened - begun, "first": time.perf_counter() - opened}))
"""


def write_model(path: Path) -> None:
    """A bundle of the preset `small` at 64 px."""
    # torch reads the number of threads when it is imported, so it comes after `set_threads`.
    from t2f.data import Vocabulary
    from t2f.generate import save_bundle
    from t2f.networks import FaceModel
    from t2f.settings import PRESETS, Settings
    from t2f.spec import StageSpec

    stage = StageSpec(
        resolution=64,
        images=1,
        fade_images=0,
        batch=2,
        seed=0,
        data_key="",
        settings=Settings().with_values(PRESETS["small"]),
    )
    vocabulary = Vocabulary.build([SENTENCE, *(f"word{number}" for number in range(1000))], min_count=1)
    model = FaceModel(stage, len(vocabulary))
    save_bundle(path, model=model, vocabulary=vocabulary, stage=stage, max_tokens=100, lineage={})


def batches(model: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Of each round: faces a second of wall time, of CPU time, and the share of the convolution rate."""
    # As above.
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from t2f.frozen import faces_at_once
    from t2f.generate import open_bundle

    bundle = open_bundle(model)
    text_E, noise_NZ = bundle.embed([SENTENCE])[0], bundle.noise(range(FACES))

    def draw() -> None:
        bundle.draw_latents(bundle.latents(text_E, noise_NZ))

    draw()
    # One pass of faces: several would be drawn in threads of their own, which the counter does not see.
    few = noise_NZ[: faces_at_once(bundle.resolution)]
    with FlopCounterMode(display=False) as counter:
        bundle.draw_latents(bundle.latents(text_E, few))
    operations = counter.get_total_flops() * FACES / len(few)
    print(f"{operations / FACES / 1e6:.1f} million operations a face; {torch.get_num_threads()} threads")
    wall, cpu, share = [], [], []
    for _ in range(rounds):
        rate = convolution_rate({"precision": "fp32"})["rate"]
        took = timed(draw, 2)
        wall.append(FACES / took["wall"])
        cpu.append(FACES / took["cpu"])
        share.append(operations / took["cpu"] / rate)
        print(f"  {wall[-1]:7.0f} faces/s, {cpu[-1]:6.0f} a CPU second, rate {rate / 1e9:.0f} GFLOP/s, {share[-1]:.2f}")
    return wall, cpu, share


def fresh(model: Path, threads: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds to open the bundle and to draw the first face, in a new process each."""
    command = [sys.executable, "-c", FRESH, str(model), str(threads), SENTENCE]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return [one["open"] for one in found], [one["first"] for one in found]


def cold(model: Path, out: Path, rounds: int) -> list[float]:
    """Seconds from the command line to the picture."""
    command = [sys.executable, "-m", "scheduler", "generate", str(model), SENTENCE, "-o", str(out)]
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds, under a minute")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rounds = 2 if options.quick else 9
    set_threads(options.threads)
    # benchmarks.training imports torch, which must come after the number of threads.
    from benchmarks.training import Figure, print_figures

    root = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        write_model(model)
        wall, cpu, share = batches(model, rounds)
        opening, first = fresh(model, options.threads, rounds)
        command = cold(model, Path(folder) / "faces.png", rounds)
    print(f"{platform.machine()}, load average {os.getloadavg()[0]:.1f}")
    # What two cores of one's own give: on a machine that does other work too, wall time says little.
    two_cores = tuple(2 * faces for faces in cpu)
    where = f"64 px, small, {options.threads} threads"
    figures = [
        Figure(goal=f"{where}: faces a second in batches", target=1500.0, values=tuple(wall)),
        Figure(goal="64 px, small: faces in a CPU second of each of two cores", target=1500.0, values=two_cores),
        Figure(goal=f"{where}: share of the convolution rate", target=0.75, values=tuple(share)),
        Figure(goal=f"{where}: seconds to open the bundle", target=0.5, values=tuple(opening), better="lower"),
        Figure(goal=f"{where}: seconds to the first face, warm", target=0.05, values=tuple(first), better="lower"),
        Figure(goal=f"{where}: seconds of the cold command", target=3.0, values=tuple(command), better="lower"),
    ]
    print_figures(figures)
    print(json.dumps([figure.to_json() for figure in figures]))


if __name__ == "__main__":
    main()
