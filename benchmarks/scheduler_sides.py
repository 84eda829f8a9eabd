"""What the processes of `benchmarks.scheduler` do: python -m benchmarks.scheduler_sides NAME JSON; one JSON line back.

Ours and Optuna's clients do the same to the same kind of database with the same durability: an acknowledged write is on
the disk.
"""

import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scheduler import reads, settling, submitting
from scheduler.database import open_database
from scheduler.objectives import Objective
from scheduler.schema import migrate
from scheduler.space import Parameter, SearchSpace
from scheduler.store import Assignment, Claimant, Seal, Start, Store
from scheduler.sweepfile import Budget, EarlyTermination, ResolvedSweep
from t2f.probe import EvaluationSpec
from t2f.spec import StagePlan
from tests.scheduler.acting import sealed


def sweep(trials: int) -> ResolvedSweep:
    """Random trials over two learning rates: no two share a stage run, which is the most rows there can be."""
    plan = StagePlan(resolutions=(4, 8, 16), images=(40,) * 3, fade=(0.5,) * 3, batch=(8,) * 3)
    rates = {"distribution": "log_uniform", "low": 1e-4, "high": 3e-3}
    return ResolvedSweep(
        method="random",
        objectives=(Objective(metric="score", goal="maximize"),),
        space=SearchSpace(
            data_key="d",
            seed=0,
            preset="small",
            plan=plan,
            parameters=(
                Parameter(name="generator.learning_rate", **rates),
                Parameter(name="discriminator.learning_rate", **rates),
            ),
        ),
        early_terminate=EarlyTermination(),
        budget=Budget(max_trials=trials),
        evaluation=EvaluationSpec(
            captions=("a face",), seeds=1, num_images=16, split="validation", data_key="d", judge_sha256="j"
        ),
        checkpoint_seconds=30.0,
    )


def submit(url: str, trials: int, name: str = "bench") -> dict[str, float]:
    """From submit to the last trial's first stage run being claimable."""
    database = open_database(url)
    migrate(database)
    store = Store(database)
    begun = time.perf_counter()
    submitting.submit_sweep(store, sweep(trials), name=name, submitted="", data_name="d")
    submitted = time.perf_counter()
    settling.settle(store, reads.sweep(database, name))
    ended = time.perf_counter()
    database.close()
    return {
        "submit_seconds": submitted - begun,
        "claimable_seconds": ended - begun,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def claim(url: str, count: int) -> dict[str, Any]:
    """One client: claims, starts and seals so many stage runs, with all guards."""
    database = open_database(url)
    store = Store(database)
    worker = store.register_worker(
        name=f"w{os.getpid()}-{time.time_ns()}", node=platform.node(), pid=os.getpid(), device="cpu", share=1.0
    )
    waits, begun = [], time.perf_counter()
    for number in range(count):
        before = time.perf_counter()
        job = store.claim(worker, f"{worker}-{number}", lease_seconds=600.0)
        waits.append(time.perf_counter() - before)
        store.start(job.stage_run_id, job.attempt, numerics_class="none", start_images=0)
        seal(store, job)
    seconds = time.perf_counter() - begun
    database.close()
    waits.sort()
    return {"count": count, "seconds": seconds, "p50_ms": 1e3 * waits[count // 2], "p99_ms": 1e3 * waits[-count // 100]}


def seal(store: Store, job: Assignment) -> None:
    store.seal(job.stage_run_id, job.attempt, **sealed(job))


def claim_in_batches(url: str, count: int, size: int, processes: int) -> dict[str, float]:
    """Several clients that claim, start and seal for so many workers at a time, with all guards."""
    database = open_database(url)
    store = Store(database)
    about = {"node": platform.node(), "pid": os.getpid(), "device": "cpu", "share": 1.0}
    workers = [
        [store.register_worker(name=f"c{client}-{number}", **about) for number in range(size)]
        for client in range(processes)
    ]
    database.close()
    seconds = together(_batches, [(url, count, own) for own in workers])
    return {"per_second": count * processes / seconds}


def _batches(url: str, count: int, workers: list[int]) -> None:
    database = open_database(url)
    store = Store(database)
    for batch in range(count // len(workers)):
        claimants = [Claimant(worker_id=worker, claim_id=f"b{batch}-{worker}") for worker in workers]
        jobs = store.claim_all(claimants, lease_seconds=600.0)
        starts = [
            Start(stage_run_id=job.stage_run_id, attempt=job.attempt, numerics_class="none", start_images=0)
            for job in jobs
        ]
        seals = [Seal(stage_run_id=job.stage_run_id, attempt=job.attempt, **sealed(job)) for job in jobs]
        if store.start_all(starts) or store.seal_all(seals):
            raise RuntimeError("an attempt that was just given does not count")
    database.close()


def together(work: Callable[..., Any], each: Sequence[tuple[Any, ...]]) -> float:
    """Wall seconds of processes at once, one for each of these arguments."""
    context = multiprocessing.get_context("fork")
    begun = time.perf_counter()
    clients = [context.Process(target=work, args=arguments) for arguments in each]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        assert client.exitcode == 0
    return time.perf_counter() - begun


def ours(url: str, trials: int, processes: int) -> dict[str, float]:
    """Ask, claim, tell: trials are drawn and made claimable, then claimed and sealed by several clients at once."""
    made = submit(url, trials, name="together")
    seconds = made["claimable_seconds"] + together(claim, [(url, trials // processes)] * processes)
    return {"trials_per_second": trials / seconds}


def _optuna_storage(url: str):
    import optuna  # a benchmark's peer

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    where = url.replace("postgresql://", "postgresql+psycopg://")
    return optuna, optuna.storages.RDBStorage(where, engine_kwargs=options)


def optuna_client(url: str, count: int) -> None:
    optuna, storage = _optuna_storage(url)
    study = optuna.load_study(study_name="bench", storage=storage, sampler=optuna.samplers.RandomSampler())
    for _ in range(count):
        trial = study.ask()
        for name in ("generator", "discriminator"):
            trial.suggest_float(name, 1e-4, 3e-3, log=True)
        study.tell(trial, 0.5)


def optuna_side(url: str, trials: int, processes: int) -> dict[str, float]:
    optuna, storage = _optuna_storage(url)
    optuna.create_study(study_name="bench", storage=storage)
    storage.engine.dispose()
    return {"trials_per_second": trials / together(optuna_client, [(url, trials // processes)] * processes)}


def restart(url: str) -> dict[str, float]:
    """What a new scheduler does after a crash until it knows what is to be done."""
    begun = time.perf_counter()
    database = open_database(url)
    store = Store(database)
    store.lead("after the crash", 10.0)
    store.expire_leases()
    (found,) = reads.open_sweeps(database)
    settling.settle(store, found)
    return {"seconds": time.perf_counter() - begun}


def tune(trials: int) -> dict[str, float]:
    """Ray Tune with trials that do nothing: trials a second, and seconds to restore the experiment after its end."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import ray  # a benchmark's peer
    from ray import tune as ray_tune

    folder = Path(tempfile.mkdtemp(prefix="t2f-tune-"))
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    nothing = ray_tune.with_resources(_nothing, {"cpu": 1})
    space = {name: ray_tune.loguniform(1e-4, 3e-3) for name in ("generator", "discriminator")}
    tuner = ray_tune.Tuner(
        nothing,
        param_space=space,
        tune_config=ray_tune.TuneConfig(num_samples=trials, reuse_actors=True),
        run_config=ray_tune.RunConfig(storage_path=str(folder), name="bench", verbose=0),
    )
    begun = time.perf_counter()
    tuner.fit()
    fitted = time.perf_counter()
    ray_tune.Tuner.restore(str(folder / "bench"), nothing).fit()
    restored = time.perf_counter()
    ray.shutdown()
    return {"trials_per_second": trials / (fitted - begun), "restore_seconds": restored - fitted}


def _nothing(config: dict[str, float]) -> dict[str, float]:
    return {"score": 0.5}


SIDES = {
    "submit": submit,
    "claim": claim,
    "ours": ours,
    "optuna": optuna_side,
    "restart": restart,
    "tune": tune,
    "batches": claim_in_batches,
    "clients": lambda url, count, processes: {
        "per_second": count * processes / together(claim, [(url, count)] * processes)
    },
}


if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](**json.loads(sys.argv[2]))))
