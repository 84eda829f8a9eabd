"""What a suggestion costs when many trials are told: the sampler alone, and a scheduler's whole turn over its database.

    python -m benchmarks.suggestions                    10,000 trials told, under a minute
    python -m benchmarks.suggestions --quick            1,000 trials, seconds

A space of six parameters, one of them conditional. Between two suggestions one trial comes in, so every place changes
(a place is a rank). `first` is a scheduler that has just started, before anything is cached. `turn` is
`asking.ask_trials` on a home's SQLite: reading every trial and stage run, places, the suggestion, and writing it; the
rows of the trials are put in by SQL, since no worker trained them. The last line is a JSON list.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.goals import rounds_entry
from scheduler import asking, reads
from scheduler import tables as t
from scheduler.database import open_database, sqlite_url
from scheduler.limits import Budget
from scheduler.objectives import Objective
from scheduler.schema import migrate
from scheduler.search.listed import random_trial
from scheduler.search.methods import draw_parameters, sampler_of
from scheduler.search.reading import Search
from scheduler.search.told import Measured, Told, ToldState, places
from scheduler.space import Parameter, SearchSpace
from scheduler.states import RunState, TrialState
from scheduler.store import Store
from scheduler.sweepfile import EarlyTermination, ResolvedSweep
from t2f.probe import EvaluationSpec
from t2f.spec import StagePlan

TARGET_SECONDS = 0.150
Seconds = tuple[float, float]  # by the clock, and of this process's CPU time
SPACE = SearchSpace(
    data_key="d" * 64,
    seed=0,
    preset="small",
    plan=StagePlan(resolutions=(4,), images=(1000,), fade=(0.0,), batch=(16,)),
    parameters=(
        Parameter(name="generator.learning_rate", distribution="log_uniform", low=1e-4, high=1e-2),
        Parameter(name="discriminator.learning_rate", distribution="log_uniform", low=1e-4, high=1e-2),
        Parameter(name="loss.kl_weight", distribution="log_uniform", low=1e-4, high=1.0),
        Parameter(name="text.caption_dropout", distribution="uniform", low=0.0, high=0.5),
        Parameter(name="loss.name", values=("wgan-gp", "logistic-r1")),
        Parameter(
            name="loss.r1_gamma", distribution="log_uniform", low=0.1, high=10, when={"loss.name": "logistic-r1"}
        ),
    ),
)


def value(parameters: dict) -> float:
    """A stand-in for a score, between 0 and 1."""
    rate = np.log10(parameters["generator.learning_rate"])
    return float(np.exp(-((rate + 3) ** 2) - parameters["text.caption_dropout"]))


def told(drawn: list[dict], count: int) -> list[Told]:
    """The first trials, measured."""
    measured = [
        Measured(stage_run_id=number, parent_id=None, resolution=4, values=(value(drawn[number]),))
        for number in range(count)
    ]
    placed = places(measured)
    return [
        Told(number=number, parameters=drawn[number], state=ToldState.MEASURED, places=placed[number])
        for number in range(count)
    ]


def samplers_seconds(method: str, count: int, rounds: int) -> Iterator[Seconds]:
    """Of each suggestion: the sampler alone, given the rows."""
    drawn = [random_trial(SPACE, number) for number in range(count + rounds)]
    sampler = sampler_of(method, SPACE, objectives=1)
    for number in range(count, count + rounds):
        rows = told(drawn, number)
        begun = time.perf_counter(), time.process_time()
        draw_parameters(sampler, SPACE, number=number, stage=4, told=rows, chosen={})
        yield time.perf_counter() - begun[0], time.process_time() - begun[1]


def resolved(method: str, count: int) -> ResolvedSweep:
    evaluation = EvaluationSpec(
        captions=("a face",), seeds=1, num_images=16, split="train", data_key=SPACE.data_key, judge_sha256="j" * 64
    )
    return ResolvedSweep(
        method=method,
        objectives=(Objective(metric="score", goal="maximize"),),
        space=SPACE,
        search=Search(parallel=1),
        early_terminate=EarlyTermination(),
        budget=Budget(max_trials=count + 1000),
        evaluation=evaluation,
        checkpoint_seconds=30.0,
    )


def fill(store: Store, sweep: reads.Sweep, count: int) -> None:
    """Rows of `count` trials, each through its one stage and measured."""
    key = sweep.resolved.evaluation.key
    numbers = range(1, count + 1)
    drawn = [random_trial(SPACE, number - 1) for number in numbers]
    scores = [value(parameters) for parameters in drawn]
    run = {"resolution": 4, "stage": 0, "spec": {}, "state": RunState.WAITING, "priority": 50, "attempt": 0}
    run |= {"ready_at": 0.0, "images": 1000, "seconds": 1.0, "created": 0.0}
    trial = {"sweep_id": sweep.id, "state": TrialState.COMPLETE, "origin": sweep.resolved.method, "attributes": {}}
    evaluation = {"key": key, "spec": {}, "state": RunState.READY, "priority": 50, "attempt": 0, "ready_at": 0.0}
    with store.database.write.begin() as connection:
        connection.execute(t.stage_runs.insert(), [{**run, "id": n, "key": f"{n:064d}"} for n in numbers])
        connection.execute(
            t.trials.insert(),
            [
                {**trial, "id": n, "number": n - 1, "parameters": parameters, "created": 0.0}
                for n, parameters in zip(numbers, drawn, strict=True)
            ],
        )
        demand = {"sweep_id": sweep.id, "priority": 50, "paused": 0, "created": 0.0}
        connection.execute(t.demands.insert(), [{**demand, "trial_id": n, "stage_run_id": n} for n in numbers])
        connection.execute(
            t.evaluations.insert(),
            [
                {
                    **evaluation,
                    "stage_run_id": n,
                    "metrics": {"score": {"value": score, "low": score, "high": score}},
                    "score": score,
                    "samples": {},
                    "seconds": 1.0,
                    "created": 0.0,
                }
                for n, score in zip(numbers, scores, strict=True)
            ],
        )
        for state in (RunState.LEASED, RunState.RUNNING, RunState.DONE):
            connection.execute(t.evaluations.update().values(state=state))


def turn_seconds(method: str, count: int, rounds: int) -> Iterator[Seconds]:
    """Of each turn that asks for one trial; that trial is then taken as complete without a result."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(sqlite_url(Path(folder) / "t2f.sqlite"))
        migrate(database)
        store = Store(database)
        store.create_sweep(
            name="s",
            submitted="",
            resolved=resolved(method, count).to_json(),
            data_key=SPACE.data_key,
            data_name="d",
            provenance={},
            created_by="",
            trials=[],
        )
        sweep = reads.sweep(database, "s")
        fill(store, sweep, count)
        for _ in range(rounds):
            begun = time.perf_counter(), time.process_time()
            assert asking.ask_trials(store, sweep) == 1
            yield time.perf_counter() - begun[0], time.process_time() - begun[1]
            newest = reads.trials(database, sweep.id)[-1]
            store.set_trial_states({newest.id: TrialState.COMPLETE})
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 trials told")
    parser.add_argument("--rounds", type=int, default=15, help="suggestions of each method")
    options = parser.parse_args()
    count = 1_000 if options.quick else 10_000
    figures: list[dict] = []
    print(f"{count:,} trials told; median and slowest of {options.rounds} suggestions, first one apart, seconds")
    print("| method | what | first | median | slowest | median of CPU time |\n|---|---|---|---|---|---|")
    cases: list[tuple[str, str, Callable[[str, int, int], Iterator[Seconds]]]] = [
        ("tpe", "sampler", samplers_seconds),
        ("tpe", "turn", turn_seconds),
        ("cmaes", "sampler", samplers_seconds),
    ]
    for method, what, seconds in cases:
        (first, _), *found = itertools.islice(seconds(method, count, options.rounds + 1), options.rounds + 1)
        others, cpu = zip(*found, strict=True)
        median, slowest = statistics.median(others), max(others)
        print(
            f"| {method} | {what} | {first:.3f} | {median:.3f} | {slowest:.3f} | {statistics.median(cpu):.3f} |",
            flush=True,
        )
        goal = f"seconds of a suggestion of {method}, {what}, {count} trials told"
        figures.append(rounds_entry(goal, TARGET_SECONDS, others, "lower"))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
