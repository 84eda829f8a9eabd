"""How fast T2F trains, measured beside the package it descends from: pro-gan-pth 1.3.3.3 in T2F's own inner loop.

    python -m benchmarks.training            all figures, about ten minutes on two cores
    python -m benchmarks.training --quick    16 px only, under a minute

Each side runs in a process of its own with one thread; the sides take turns (A B C D A B C D ...), so that a slow
minute of the machine meets all of them, and a ratio is taken inside one round. The figure is the median over the
rounds of the ratio of process CPU times, low and high are the smallest and the largest; wall time is in the table.
The last line of the output is a JSON list, one entry for each figure of this run.

The peer comes from the package index by pip, into an environment of its own that sees this environment's torch (both
sides then run the same build), in the folder of --cache; the project never imports it.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.goals import rounds_entry
from t2f.data import PreparedData, PrepareOptions, prepare
from t2f.precision import processor_multiplies_bf16

ROOT = Path(__file__).resolve().parent.parent
PEER = "pro-gan-pth==1.3.3.3"
BATCH = 16
LONGEST = 100  # tokens; T2F pads every caption to it
MEASURED = (4, 8, 32, 64)  # px
# Numbers of tokens spread as Face2Text's captions are: median 24, mean 27, nine in ten under 51.
NATURAL = (4, 8, 10, 13, 15, 17, 20, 22, 25, 28, 31, 35, 40, 46, 54, 66)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one process is to train."""

    resolution: int
    precision: str = "fp32"
    penalty_interval: int = 1
    lengths: tuple[int, ...] = (LONGEST,) * BATCH  # tokens of the batch's captions
    data: str = ""
    batch: int = BATCH
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured goal: one value a round."""

    goal: str
    target: float
    values: tuple[float, ...]
    better: str = "higher"

    def to_json(self) -> dict[str, Any]:
        return rounds_entry(self.goal, self.target, self.values, self.better)


class Side:
    """One side in its own process."""

    def __init__(self, script: str, python: Path | str, case: Case) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.{script}", json.dumps(asdict(case))],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **more: Any) -> dict[str, float]:
        print(json.dumps({"do": what, **more}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a side ended with code {self._process.wait()}; its error is printed above")
        return json.loads(answer)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def peer_python(cache: Path) -> Path:
    """The interpreter of an environment that holds the peer and sees this environment's torch and numpy."""
    folder = cache / f"peer-python{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        # --no-deps: torch is here already, and what else the package asks for it does not import.
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, PEER], check=True)
        (folder / "installed").touch()
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "torch_of_the_project.pth").write_text(f"{Path(torch.__file__).parent.parent}\n")
    return python


def prepared(cache: Path, lengths: Sequence[int]) -> PreparedData:
    """256 pictures of noise in 64 px, each with one caption; the captions' lengths go round `lengths`."""
    name = f"noise-{min(lengths)}-{max(lengths)}"
    source, chance, noise = cache / f"{name}-source", random.Random(0), np.random.default_rng(0)
    if not (source / "metadata.jsonl").exists():
        source.mkdir(parents=True, exist_ok=True)
        lines = []
        for number in range(256):
            Image.fromarray(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(source / f"{number}.png")
            words = (f"word{chance.randrange(998)}" for _ in range(lengths[number % len(lengths)]))
            lines.append(json.dumps({"file_name": f"{number}.png", "text": " ".join(words)}))
        (source / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    options = PrepareOptions(max_resolution=64, min_count=1, max_tokens=LONGEST)
    return prepare(source, format="imagefolder", out=cache / name, options=options, replace=True)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where things are and how long to measure."""

    cache: Path
    peer: Path
    rounds: int
    threads: int

    def peer_side(self, case: Case) -> Side:
        return Side("peer_step", self.peer, case)

    def own_side(self, case: Case) -> Side:
        return Side("own_step", sys.executable, case)

    def case(self, resolution: int, lengths: tuple[int, ...] = (LONGEST,) * BATCH, **more: Any) -> Case:
        data = prepared(self.cache, lengths)
        return Case(resolution=resolution, lengths=lengths, data=str(data.path), threads=self.threads, **more)


def own_cases(fp32: Case) -> dict[str, Case]:
    """What is measured of ours, the fastest last; bf16 where the processor has it."""
    if not processor_multiplies_bf16():
        return {"fp32": fp32}
    bf16 = replace(fp32, precision="bf16")
    return {"fp32": fp32, "bf16": bf16, "bf16, penalty every 4th step": replace(bf16, penalty_interval=4)}


def speedups(bench: Bench, resolution: int, targets: dict[str, float], *, details: bool) -> list[Figure]:
    """Steps of the peer and of ours in turn; with details also memory, sampling, convolution rate and loader."""
    fp32 = bench.case(resolution)
    ours = own_cases(fp32)
    peer = bench.peer_side(fp32)
    own = {name: bench.own_side(case) for name, case in ours.items()}
    counts = {name: case.penalty_interval for name, case in ours.items()}
    for side in (peer, *own.values()):
        side.ask("step", count=1)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("peer", *own)}
    rates: list[float] = []
    for _ in range(bench.rounds):
        rows["peer"].append(peer.ask("step", count=1))
        for name, side in own.items():
            rates += [side.ask("rate", precision="fp32")["rate"]] if name == "fp32" else []
            rows[name].append(side.ask("step", count=counts[name]))
    print_times(f"{resolution} px, one step", rows)
    figures = [
        Figure(goal=f"{resolution} px, {name}: speedup over the peer", target=targets[name], values=ratios(rows, name))
        for name in own
    ]
    print(f"  convolution rate {statistics.median(rates) / 1e9:.1f} GFLOP/s (fp32, one thread)")
    if details:
        flops = own["fp32"].ask("flops")["flops"]
        share = [flops / row["cpu"] / rate for row, rate in zip(rows["fp32"], rates, strict=True)]
        print(f"  {flops / 1e9:.0f} GFLOP a step, counted where convolutions and matrix products are called")
        fastest = list(own)[-1]  # its step is the one that waits relatively longest
        stall = [own[fastest].ask("stall", count=4)["share"] for _ in range(bench.rounds)]
        samples: dict[str, list[dict[str, float]]] = {"peer": [], "fp32": []}
        for _ in range(bench.rounds):
            samples["peer"].append(peer.ask("sample", count=2))
            samples["fp32"].append(own["fp32"].ask("sample", count=2))
        print_times(f"{resolution} px, {BATCH} faces from captions", samples)
        # Read last, when every kind of work has been done; in a fresh pair of processes nothing else has raised it.
        memory = [own["fp32"].ask("memory")["bytes"], peer.ask("memory")["bytes"]]
        print(f"  peak resident memory: peer {memory[1] / 1e9:.2f} GB, ours {memory[0] / 1e9:.2f} GB (fp32)")
        figures += [
            Figure(goal=f"{resolution} px, fp32: share of the convolution rate", target=0.75, values=tuple(share)),
            Figure(
                goal=f"{resolution} px, fp32: peak memory over the peer's",
                target=0.7,
                values=(memory[0] / memory[1],),
                better="lower",
            ),
            Figure(goal=f"{resolution} px, fp32: speedup of sampling", target=1.5, values=ratios(samples, "fp32")),
            Figure(
                goal=f"{resolution} px, {fastest}: loading's share of a step",
                target=0.01,
                values=tuple(stall),
                better="lower",
            ),
        ]
    for side in (peer, *own.values()):
        side.close()
    return figures


def text_speedups(bench: Bench, resolution: int, what: str, lengths: tuple[int, ...]) -> list[Figure]:
    """Small pictures, where the text encoder is a large part of a step."""
    case = bench.case(resolution, lengths)
    peer = bench.peer_side(case)
    own = {name: bench.own_side(one) for name, one in own_cases(case).items()}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("peer", *own)}
    for side in (peer, *own.values()):
        side.ask("step", count=2)
    for _ in range(bench.rounds):
        rows["peer"].append(peer.ask("step", count=2))
        for name, side in own.items():
            rows[name].append(side.ask("step", count=4))
    print_times(f"{resolution} px, {what}, one step", rows)
    for side in (peer, *own.values()):
        side.close()
    return [
        Figure(goal=f"{resolution} px, {name}, {what}: speedup", target=3.0, values=ratios(rows, name)) for name in own
    ]


def ratios(rows: dict[str, list[dict[str, float]]], name: str, clock: str = "cpu") -> tuple[float, ...]:
    """The peer's time over ours in each round."""
    return tuple(peer[clock] / ours[clock] for peer, ours in zip(rows["peer"], rows[name], strict=True))


def print_times(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{title}: median of {len(rows['peer'])} rounds (seconds, smallest to largest)")
    print(f"  {'':32}{'CPU time':>22}{'wall time':>22}{'peer/ours, CPU':>16}{'wall':>7}")
    for name, row in rows.items():
        cells = []
        for clock in ("cpu", "wall"):
            values = [entry[clock] for entry in row]
            cells.append(f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})")
        speed = [statistics.median(ratios(rows, name, clock)) for clock in ("cpu", "wall")]
        print(f"  {name:32}{cells[0]:>22}{cells[1]:>22}{speed[0]:>16.2f}{speed[1]:>7.2f}")
    sys.stdout.flush()


def print_figures(figures: Sequence[Figure]) -> None:
    print(f"\n  {'figure':62}{'target':>8}{'measured':>10}{'low':>8}{'high':>8}{'n':>4}")
    for figure in figures:
        row = figure.to_json()
        reached = row["measured"] >= row["target"] if row["better"] == "higher" else row["measured"] <= row["target"]
        sign = ">=" if row["better"] == "higher" else "<="
        print(
            f"  {row['goal']:62}{sign:>3}{row['target']:>5g}{row['measured']:>10.3g}{row['low']:>8.3g}"
            f"{row['high']:>8.3g}{row['n']:>4}{'' if reached else '  not reached'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 px only, two rounds, under a minute")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of every measurement (default 5; quick: 2)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each side")
    parser.add_argument("--resolutions", type=int, nargs="+", choices=MEASURED, default=MEASURED, help="px")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "t2f-benchmarks", help="the peer's environment, data"
    )
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 5)
    cache = options.cache.resolve()
    if cache.is_relative_to(ROOT):
        parser.error(f"--cache {cache} is inside the project; the peer must stay outside")
    cache.mkdir(parents=True, exist_ok=True)
    bench = Bench(cache=cache, peer=peer_python(cache), rounds=rounds, threads=options.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, peer {PEER}")
    if not processor_multiplies_bf16():
        print("bf16 is not measured: this processor has neither avx512_bf16 nor AMX")
    targets_32 = {"fp32": 1.4, "bf16": 2.4, "bf16, penalty every 4th step": 3.8}
    if options.quick:
        figures = speedups(bench, 16, targets_32, details=False)  # the goals are those of 32 px
    else:
        figures = []
        for resolution in sorted(set(options.resolutions) & {4, 8}):
            figures += text_speedups(bench, resolution, "captions of 100 tokens", (LONGEST,) * BATCH)
            figures += text_speedups(bench, resolution, "captions as long as Face2Text's", NATURAL)
        if 32 in options.resolutions:
            figures += speedups(bench, 32, targets_32, details=False)
        if 64 in options.resolutions:
            figures += speedups(bench, 64, {**targets_32, "fp32": 1.5}, details=True)
    print_figures(figures)
    print(json.dumps([figure.to_json() for figure in figures]))


if __name__ == "__main__":
    main()
