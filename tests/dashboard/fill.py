"""A home as a sweep leaves it: rows, sample pictures, attempts, curves, workers. The faces are cartoons."""

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, update

from scheduler import tables
from t2f.probe import EvaluationSpec
from t2f.settings import Settings
from t2f.spec import StageSpec
from tests.dashboard.faces import CAPTIONS, sample_png

RESOLUTIONS = (4, 8, 16, 32)
IMAGES = (16_000, 16_000, 24_000, 24_000)
LOSSES = ("wgan-gp", "logistic-r1")
RATES = (0.001, 0.002, 0.0005)
SEEDS = 6
EVALUATION = EvaluationSpec(
    captions=tuple(CAPTIONS), seeds=SEEDS, num_images=500, split="validation", data_key="d" * 64, judge_sha256="j" * 64
)


@dataclass
class Filler:
    """Writes rows as the scheduler and its workers would."""

    connection: Connection
    files: Path
    now: float
    seeds: int = SEEDS

    def insert(self, table: str, **values: Any) -> int:
        return self.connection.execute(insert(tables.metadata.tables[table]).values(**values)).inserted_primary_key[0]

    def update(self, table: str, number: int, **values: Any) -> None:
        found = tables.metadata.tables[table]
        self.connection.execute(update(found).where(found.c.id == number).values(**values))

    def sweep(self, name: str, *, state: str = "running", error: str | None = None, age: float = 260.0) -> int:
        return self.insert(
            "sweeps",
            name=name,
            submitted=f"name: {name}\n",
            resolved={
                "plan": {"resolutions": list(RESOLUTIONS), "images": list(IMAGES)},
                "metric": "score",
                "goal": "maximize",
                "evaluation": EVALUATION.to_json(),
            },
            state=state,
            error=error,
            data_key="d" * 64,
            data_name="demo",
            provenance={},
            created_by="test",
            created=self.now - age,
            ended=self.now - 20 if state in ("complete", "failed") else None,
        )

    def trial(self, sweep: int, number: int, parameters: dict[str, Any], *, state: str = "running") -> int:
        return self.insert(
            "trials",
            sweep_id=sweep,
            number=number,
            parameters=parameters,
            state=state,
            origin="grid",
            attributes={},
            created=self.now - 250,
            ended=None,
        )

    def worker(self, name: str, *, state: str = "idle", doing: dict | None = None, beat_age: float = 1.0) -> int:
        ended = state in ("ended", "lost")
        return self.insert(
            "workers",
            name=name,
            node="desk",
            pid=4000 + len(name),
            device="cpu AVX2",
            share=1.0,
            state=state,
            doing=doing,
            telemetry={"images_per_second": 812.4 if doing else 0.0, "memory_bytes": 498_000_000},
            started=self.now - 255,
            heartbeat=self.now - beat_age,
            ended=self.now - beat_age if ended else None,
        )

    def stage_run(
        self, key: str, parent: int | None, stage: int, parameters: dict[str, Any], *, state: str, share: float = 1.0
    ) -> int:
        spec = StageSpec(
            resolution=RESOLUTIONS[stage],
            images=IMAGES[stage],
            fade_images=IMAGES[stage] // 2 if stage else 0,
            batch=64,
            seed=0,
            data_key="d" * 64,
            settings=Settings().with_values(parameters),
        )
        active = state == "running"
        return self.insert(
            "stage_runs",
            key=key,
            parent_id=parent,
            stage=stage,
            resolution=RESOLUTIONS[stage],
            spec=spec.to_json(),
            state=state,
            priority=50,
            attempt=0 if state == "ready" else 1,
            ready_at=0.0,
            lease_until=self.now + 30 if active else None,
            images=round(IMAGES[stage] * share) if state != "ready" else 0,
            images_per_second=812.4 if active else None,
            seconds=(18.0 + 9 * stage) * share if state != "ready" else 0.0,
            created=self.now - 250,
            ended=self.now - 60 if state == "done" else None,
        )

    def demand(self, sweep: int, trial: int, run: int) -> None:
        self.insert(
            "demands",
            sweep_id=sweep,
            trial_id=trial,
            stage_run_id=run,
            priority=50,
            paused=0,
            created=self.now - 250,
        )

    def attempt(self, sweep: int, run: int, worker: int, number: int, outcome: str | None, **values: Any) -> None:
        self.insert(
            "attempts",
            stage_run_id=run,
            number=number,
            claim_id=f"{run}-{number}",
            worker_id=worker,
            sweep_id=sweep,
            numerics_class="cpu AVX2 | torch 2.13.0 | 1 thread",
            claimed=self.now - 200,
            started=self.now - 199,
            ended=self.now - 150 if outcome else None,
            outcome=outcome,
            **{"start_images": 0, "error": None, **values},
        )

    def curves(self, run: int, stage: int, *, share: float = 1.0, points: int = 120) -> None:
        vary = random.Random(run)
        rows = []
        for index in range(1, round(points * share) + 1):
            images = round(index * IMAGES[stage] / points)
            fall = math.exp(-3 * index / points)
            for name, value in (
                ("loss_d", -2 - 6 * fall + vary.gauss(0, 0.4)),
                ("loss_g", 1.5 + 5 * fall + vary.gauss(0, 0.5)),
                ("score_right", 2 + vary.gauss(0, 0.3)),
                ("score_wrong", 1 - fall + vary.gauss(0, 0.3)),
                ("score_fake", -2 + 2 * fall + vary.gauss(0, 0.3)),
            ):
                rows.append({"stage_run_id": run, "name": name, "images": images, "value": value})
        self.connection.execute(insert(tables.curves), rows)

    def evaluation(self, run: int, stage: int, score: float, *, text: bool = True, noise: float = 0.0) -> int:
        number = self.insert(
            "evaluations",
            stage_run_id=run,
            key=EVALUATION.key,
            spec=EVALUATION.to_json(),
            state="done",
            priority=60,
            attempt=1,
            ready_at=0.0,
            metrics=metrics(score, text=text),
            score=score,
            samples={
                "uri": f"samples/{run}/1.png",
                "sha256": f"{run:064x}",
                "captions": CAPTIONS,
                "seeds": self.seeds,
                "tile": RESOLUTIONS[stage],
            },
            seconds=3.2,
            created=self.now - 60,
            ended=self.now - 57,
        )
        path = self.files / "samples" / str(run) / "1.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample_png(RESOLUTIONS[stage], noise=noise, seeds=self.seeds))
        return number

    def event(self, kind: str, sweep: int, trial: int, **payload: Any) -> None:
        self.insert("events", at=self.now - 50, kind=kind, sweep_id=sweep, trial_id=trial, payload=payload)


def metrics(score: float, *, text: bool) -> dict[str, dict[str, Any]]:
    """What an evaluation measures, around a score."""
    found = {
        "score": {"value": score, "low": max(0.0, score - 0.03), "high": min(1.0, score + 0.03)},
        "fidelity": {
            "value": min(1.0, score * 1.1),
            "low": max(0.0, score * 1.1 - 0.02),
            "high": min(1.0, score * 1.1 + 0.02),
        },
        "swd": {"value": 0.4 - score / 4, "low": None, "high": None},
        "colour_distance": {"value": 0.3 - score / 5},
        "shuffle_gap": {"value": score / 9, "low": score / 10, "high": score / 8},
        "attribute_share": {"value": 0.2 + score / 2, "low": 0.18 + score / 2, "high": 0.22 + score / 2},
        "attribute_hair_colour": {"value": 0.3 + score / 2},
        "attribute_skin": {"value": 0.25 + score / 2},
        "r_precision": {"value": score / 2, "low": score / 3, "high": score, "note": "1 against 99, chance 1%"},
        "judge_r_precision": {"value": 0.91, "low": 0.88, "high": 0.94, "note": "1 against 99, chance 1%"},
        "closed_gates": {"value": 0.0, "low": None, "high": None},
    }
    if text:
        found["text"] = {"value": score * 0.9, "low": max(0.0, score * 0.9 - 0.05), "high": score * 0.9 + 0.05}
    return found


def fill_demo(connection: Connection, files: Path, *, name: str = "demo", now: float | None = None) -> int:
    """A sweep of six trials half-way through: two are pruned at 16 px, two are at 32 px, one waits, one leads.

    Returns the sweep's id.
    """
    filler = Filler(connection, files, time.time() if now is None else now)
    sweep = filler.sweep(name)
    lost = filler.worker("worker-1", state="lost", beat_age=170)
    first = filler.worker("worker-2", state="busy")
    roots: dict[str, list[int]] = {}
    scores = {("wgan-gp", 0.001): 0.52, ("wgan-gp", 0.002): 0.44, ("wgan-gp", 0.0005): 0.31}
    scores |= {("logistic-r1", 0.001): 0.61, ("logistic-r1", 0.002): 0.57, ("logistic-r1", 0.0005): 0.28}
    number = 0
    for loss in LOSSES:
        for rate in RATES:
            number += 1
            parameters = {"loss.name": loss, "generator.learning_rate": rate}
            score = scores[loss, rate]
            pruned = score < 0.4
            trial = filler.trial(sweep, number, parameters, state="pruned" if pruned else "running")
            if loss not in roots:
                roots[loss] = []
                for stage in (0, 1):
                    parent = roots[loss][-1] if roots[loss] else None
                    run = filler.stage_run(f"{name}-{loss}-{stage}", parent, stage, {"loss.name": loss}, state="done")
                    roots[loss].append(run)
                    if loss == "wgan-gp" and stage == 0:
                        filler.attempt(sweep, run, lost, 1, "lost", error="its lease ran out")
                        filler.attempt(sweep, run, first, 2, "done", start_images=6400)
                    else:
                        filler.attempt(sweep, run, first, 1, "done")
                    filler.curves(run, stage)
                    filler.evaluation(run, stage, 0.3 + 0.05 * stage, text=stage > 0, noise=0.8)
            run = filler.stage_run(f"{name}-{loss}-{rate}-2", roots[loss][-1], 2, parameters, state="done")
            filler.attempt(sweep, run, first, 1, "done")
            filler.curves(run, 2)
            filler.evaluation(run, 2, score - 0.08, noise=1.0 - score)
            path = [*roots[loss], run]
            if pruned:
                filler.event("trial.pruned", sweep, trial, reason=f"16 px: rank {number} of 6, the best 4 go on")
            else:
                path.append(last_stage(filler, sweep, first, name, run, parameters, score))
            for item in path:
                filler.demand(sweep, trial, item)
    filler.worker("worker-3")
    return sweep


def last_stage(filler, sweep: int, worker: int, name: str, parent: int, parameters: dict, score: float) -> int:
    """32 px of a trial: measured, in training or ready, by its score."""
    state, share = {0.61: ("done", 1.0), 0.57: ("done", 1.0), 0.52: ("running", 0.62)}.get(score, ("ready", 0.0))
    run = filler.stage_run(f"{name}-{parent}-3", parent, 3, parameters, state=state, share=share)
    if state == "ready":
        return run
    filler.attempt(sweep, run, worker, 1, "done" if state == "done" else None)
    filler.curves(run, 3, share=share)
    if state == "done":
        filler.evaluation(run, 3, score, noise=0.9 - score)
    else:
        doing = {"kind": "train", "stage_run": run, "resolution": 32, "attempt": 1}
        filler.update("workers", worker, doing=doing, telemetry={"images_per_second": 812.4, "memory_bytes": 498e6})
    return run


def fill_large(connection: Connection, files: Path, *, trials: int = 100) -> int:
    """A sweep of many trials with four measured stages each; every fourth begins a new root."""
    filler = Filler(connection, files, time.time(), seeds=2)
    sweep = filler.sweep("large", state="complete")
    roots: list[int] = []
    for number in range(1, trials + 1):
        parameters = {"loss.name": LOSSES[number % 2], "generator.learning_rate": round(1e-4 * number, 6)}
        trial = filler.trial(sweep, number, parameters, state="complete")
        if number % 4 == 1:
            roots = []
        path = list(roots)
        for stage in range(len(path), len(RESOLUTIONS)):
            parent = path[-1] if path else None
            run = filler.stage_run(f"large-{number}-{stage}", parent, stage, parameters, state="done")
            filler.evaluation(run, stage, 0.2 + 0.6 * ((number * 37) % 100) / 100)
            path.append(run)
            if stage < 2:
                roots.append(run)
        for item in path:
            filler.demand(sweep, trial, item)
    return sweep
