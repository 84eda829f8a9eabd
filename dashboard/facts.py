"""Rows into the facts that pages and API show."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from dashboard.errors import UnknownError
from dashboard.models import (
    AliasMove,
    Attempt,
    Measured,
    Model,
    ModelLineage,
    ModelStage,
    Sample,
    Sharing,
    StageRun,
    Sweep,
    SweepList,
    SweepSummary,
    Trial,
    TrialDetail,
    TrialStage,
    Worker,
)
from dashboard.wording import trial_url
from scheduler import page_reads, registry, waiting
from scheduler.database import Database
from scheduler.finalists import fresh_results, lift, parents_of
from scheduler.objectives import Objective
from scheduler.ranking import Standing, gates_of, rank, told_standing
from scheduler.roles import Role, describe
from scheduler.states import RunState, TrialState
from t2f.probe import EvaluationSpec

CURVES = ("loss_d", "loss_g", "score_right", "score_wrong", "score_fake", "diversity")
PART_ORDER = (
    "score",
    "fidelity",
    "text",
    "attribute_share",
    "r_precision",
    "shuffle_gap",
    "swd",
    "pixel_distance",
    "pixel_mmd",
    "colour_distance",
)
NO_PARTS = ("score", "judge_r_precision", "closed_gates")  # shown in places of their own


@dataclass(frozen=True, kw_only=True)
class SampleFile:
    uri: str
    tile: int  # px
    version: str  # stands in the address of this very content


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    model: Model
    uri: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SweepRows:
    """What a sweep's page and its trials' pages are made from."""

    sweep: Row
    summary: SweepSummary
    trials: Sequence[Row]
    runs: Mapping[int, StageRun]
    run_rows: Mapping[int, Row]
    paths: Mapping[int, list[int]]  # trial id to stage run ids, from 4 px up
    reasons: Mapping[int, str]
    varying: list[str]
    resolutions: list[int]


def sweep_list(database: Database, *, limit: int, offset: int) -> SweepList:
    """The newest sweeps first."""
    with database.read.begin() as connection:
        rows = page_reads.newest_sweeps(connection, limit=limit, offset=offset)
        return SweepList(
            sweeps=summaries(connection, rows),
            total=page_reads.count_sweeps(connection),
            limit=limit,
            offset=offset,
        )


def summaries(connection: Connection, rows: Sequence[Row]) -> list[SweepSummary]:
    ids = [row.id for row in rows]
    states: dict[int, Counter] = defaultdict(Counter)
    for row in page_reads.trial_states(connection, ids):
        states[row.sweep_id][row.state] = row.count
    counts = {row.sweep_id: row for row in page_reads.stage_run_counts(connection, ids)}
    best = best_trials(connection, rows)
    waits = waiting.reasons_in(connection)
    return [
        SweepSummary(
            name=row.name,
            state=row.state,
            error=row.error,
            waits=waits.get(row.id),
            own_loop=row.resolved.get("own_loop", False),
            labels=row.labels,
            trials=states[row.id].total(),
            trials_by_state={state.value: states[row.id][state] for state in TrialState if states[row.id][state]},
            stage_runs_done=counts[row.id].done if row.id in counts else 0,
            stage_runs_total=counts[row.id].total if row.id in counts else 0,
            metric=objectives(row)[0].metric,
            best_value=best[row.id][0] if row.id in best else None,
            best_trial=f"{row.name}/T{best[row.id][1]}" if row.id in best else None,
            created=row.created,
            ended=row.ended,
        )
        for row in rows
    ]


def best_trials(connection: Connection, rows: Sequence[Row]) -> dict[int, tuple[float, int]]:
    """Sweep id -> the first objective's value of its best trial, and that one's number.

    A finalist's is the mean of its fresh seeds.
    """
    keys: dict[tuple[Objective, ...], dict[int, str]] = defaultdict(dict)
    own: dict[int, tuple[Objective, ...]] = {}
    for row in rows:
        wanted = tuple(objectives(row))
        if row.resolved.get("own_loop"):
            own[row.id] = wanted
        else:
            keys[wanted][row.id] = evaluation_key(row)
    best = best_told(connection, own)
    for wanted, of in keys.items():
        best |= {row.sweep_id: (row.value, row.number) for row in page_reads.best_values(connection, of, wanted)}
        best |= best_finalists(connection, of, wanted[0])
    return best


def best_finalists(
    connection: Connection, keys: Mapping[int, str], objective: Objective
) -> dict[int, tuple[float, int]]:
    """Sweep id -> the best mean of a finalist's fresh seeds, and its number; of sweeps that have some."""
    values: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in page_reads.fresh_values(connection, keys, objective.metric):
        values[row.sweep_id, Role.of(row.attributes).parent].append(row.value)
    means = [(sum(found) / len(found), -number, sweep_id) for (sweep_id, number), found in values.items()]
    means.sort(key=lambda mean: (objective.turned(mean[0]), mean[1]))
    return {sweep_id: (mean, -number) for mean, number, sweep_id in means}


def best_told(connection: Connection, own: Mapping[int, Sequence[Objective]]) -> dict[int, tuple[float, int]]:
    """The same of sweeps that somebody's own loop trains: their trials have what it told."""
    found: dict[int, tuple[float, int]] = {}
    best: dict[int, tuple[float, ...]] = {}  # its values, turned so that more is better
    for row in page_reads.trials_of(connection, own) if own else ():
        told, wanted = told_of(row) or {}, own[row.sweep_id]
        if any(told.get(objective.metric) is None for objective in wanted):
            continue
        values = tuple(objective.turned(told[objective.metric]) for objective in wanted)
        if row.sweep_id not in best or values > best[row.sweep_id]:
            best[row.sweep_id], found[row.sweep_id] = values, (told[wanted[0].metric], row.number)
    return found


def sweep(database: Database, name: str, *, limit: int, offset: int) -> Sweep:
    with database.read.begin() as connection:
        rows = sweep_rows(connection, name)
    ranking = ranked(rows)
    shown = ranking[offset : offset + limit]
    needed = {number for trial in shown for number in trial.stage_runs}
    return Sweep(
        **dict(rows.summary),
        data=rows.sweep.data_name,
        resolutions=rows.resolutions,
        varying=rows.varying,
        objectives=[objective.metric for objective in objectives(rows.sweep)],
        sharing=sharing(rows),
        unused_rungs={int(px): unused_rung(found) for px, found in (rows.sweep.unused_rungs or {}).items()},
        ranking=shown,
        stage_runs=[run for run in rows.runs.values() if run.id in needed],
        limit=limit,
        offset=offset,
    )


def unused_rung(figure: Mapping[str, Any]) -> str:
    return (
        f"rank correlation with the final stage {figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f}), "
        f"{figure['note']}"
    )


def trial(database: Database, name: str, number: int) -> TrialDetail:
    with database.read.begin() as connection:
        rows = sweep_rows(connection, name)
        found = next((trial for trial in ranked(rows) if trial.number == number), None)
        if found is None:
            raise UnknownError(f"The sweep {name!r} has no trial T{number}.")
        attempts, curves = defaultdict(list), defaultdict(lambda: defaultdict(list))
        for row in page_reads.attempts_of(connection, found.stage_runs):
            attempts[row.stage_run_id].append(attempt(row))
        for row in page_reads.curves_of(connection, found.stage_runs, CURVES):
            curves[row.stage_run_id][row.name].append((row.images, row.value))
    stages = [
        TrialStage(**dict(rows.runs[run]), attempts=attempts[run], curves=curves[run]) for run in found.stage_runs
    ]
    newest = rows.run_rows[found.stage_runs[-1]] if found.stage_runs else None
    return TrialDetail(
        **dict(found),
        stages=stages,
        settings=newest.spec.get("settings", {}) if newest else {},
        varying=rows.varying,
        resolutions=rows.resolutions,
    )


def sweep_rows(connection: Connection, name: str) -> SweepRows:
    sweep_row = page_reads.sweep_named(connection, name)
    if sweep_row is None:
        raise UnknownError(f"There is no sweep named {name!r}.")
    trials = page_reads.trials_of(connection, [sweep_row.id])
    paths: dict[int, list[int]] = defaultdict(list)
    sharers: dict[int, list[int]] = defaultdict(list)
    for row in page_reads.paths_of(connection, [sweep_row.id]):
        paths[row.trial_id].append(row.stage_run_id)
        sharers[row.stage_run_id].append(row.number)
    run_rows = {row.id: row for row in page_reads.stage_runs_of(connection, sweep_row.id, evaluation_key(sweep_row))}
    return SweepRows(
        sweep=sweep_row,
        summary=summaries(connection, [sweep_row])[0],
        trials=trials,
        runs={number: stage_run(row, sharers[number]) for number, row in run_rows.items()},
        run_rows=run_rows,
        paths=paths,
        reasons=reasons(page_reads.ends_of_trials(connection, sweep_row.id), {row.id: row.state for row in trials}),
        varying=varying_parameters([row.parameters for row in trials]),
        # Trials that were extended go beyond the sweep's own plan.
        resolutions=sorted(
            {*sweep_row.resolved["plan"]["resolutions"], *(row.resolution for row in run_rows.values())}
        ),
    )


def evaluation_key(sweep_row: Row) -> str:
    """Under which key a sweep's stage runs are measured."""
    return EvaluationSpec.from_json(sweep_row.resolved["evaluation"]).key


def stage_run(row: Row, sharers: Iterable[int]) -> StageRun:
    measured = measures(row.metrics) if row.evaluation_state == RunState.DONE else []
    score = next((item for item in measured if item.name == "score"), None)
    return StageRun(
        id=row.id,
        key=row.key,
        parent_id=row.parent_id,
        resolution=row.resolution,
        state=row.state,
        attempt=row.attempt,
        images=row.images,
        images_planned=row.spec["images"],
        images_per_second=row.images_per_second,
        seconds=row.seconds,
        error=row.error,
        trials=sorted(sharers),
        evaluation_state=row.evaluation_state,
        score=score,
        parts=[item for item in measured if item.name not in NO_PARTS],
        judge=next((item for item in measured if item.name == "judge_r_precision"), None),
        closed_gates=list(gates_of(row.metrics or {})),
        sample=sample(row.evaluation_id, row.samples, row.evaluated) if row.samples else None,
    )


def measures(metrics: Mapping[str, Mapping[str, Any]] | None) -> list[Measured]:
    """The metrics, the score and its parts first."""
    found = [
        Measured(name=name, value=entry["value"], low=entry.get("low"), high=entry.get("high"), note=entry.get("note"))
        for name, entry in (metrics or {}).items()
        if entry.get("value") is not None
    ]
    order = {name: index for index, name in enumerate(PART_ORDER)}
    return sorted(found, key=lambda item: (order.get(item.name, len(order)), item.name))


def sample(evaluation_id: int, samples: Mapping[str, Any], evaluated: float | None) -> Sample:
    version = sample_version(samples, evaluated)
    return Sample(
        evaluation_id=evaluation_id,
        url=f"/samples/{evaluation_id}.png?v={version}",
        thumbnail_url=f"/samples/{evaluation_id}/thumbnail.png?v={version}",
        captions=list(samples["captions"]),
        seeds=samples["seeds"],
        tile=samples["tile"],
    )


def sample_version(samples: Mapping[str, Any], evaluated: float | None) -> str:
    """What changes whenever the picture does: ids begin again at 1 in a new home."""
    return str(samples.get("sha256") or f"{evaluated or 0:.3f}")[:16]


def sample_file(database: Database, evaluation_id: int) -> SampleFile:
    with database.read.begin() as connection:
        row = page_reads.evaluation(connection, evaluation_id)
    if row is None or not row.samples:
        raise UnknownError(f"There is no sample of evaluation {evaluation_id}.")
    return SampleFile(uri=row.samples["uri"], tile=row.samples["tile"], version=sample_version(row.samples, row.ended))


def ranked(rows: SweepRows) -> list[Trial]:
    """Trials in the order of the command line's ranking, then those that are not ranked."""
    wanted = objectives(rows.sweep)
    measured = {row.id: last_measured(rows, row.id) for row in rows.trials}
    if rows.sweep.resolved.get("own_loop"):
        standings = [
            told_standing(
                row.id, row.number, TrialState(row.state), told, resolution=max(rows.resolutions), wanted=wanted
            )
            for row in rows.trials
            if (told := told_of(row))
        ]
    else:
        standings = [standing(row, run, wanted) for row in rows.trials if (run := measured[row.id])]
    parents = parents_of((row.id, row.origin, row.attributes) for row in rows.trials)
    own = rank([one for one in standings if one.trial_id not in parents], wanted)
    ranking = lift(own, fresh_results(standings, parents), wanted[0].goal)
    fresh = {one.standing.trial_id: one.fresh.mean for one in ranking if one.fresh is not None}
    places = {one.standing.trial_id: place for place, one in enumerate(ranking)}
    found = {one.standing.trial_id: one for one in ranking}
    return [
        Trial(
            sweep=rows.sweep.name,
            number=row.number,
            name=f"{rows.sweep.name}/T{row.number}",
            state=row.state,
            origin=row.origin,
            rank=found[row.id].rank if row.id in found else None,
            is_best=places.get(row.id) == 0,
            front=found[row.id].front if row.id in found else None,
            objectives=values_of(found[row.id].standing, wanted) if row.id in found else {},
            parameters=row.parameters,
            score=run.score if (run := measured[row.id]) else None,
            scored_at=run.resolution if run else None,
            parts=run.parts if run else [],
            judge=run.judge if run else None,
            closed_gates=run.closed_gates if run else [],
            fresh=Measured(name=wanted[0].metric, **fresh[row.id].to_json()) if row.id in fresh else None,
            note=describe(row.origin, row.attributes),
            stage_runs=rows.paths.get(row.id, []),
            reason=rows.reasons.get(row.id),
            created=row.created,
            ended=row.ended,
        )
        for row in sorted(rows.trials, key=lambda row: (places.get(row.id, len(places)), row.number))
    ]


def last_measured(rows: SweepRows, trial_id: int) -> StageRun | None:
    """The deepest stage run of a trial that has a score."""
    scored = [rows.runs[number] for number in rows.paths.get(trial_id, []) if rows.runs[number].score is not None]
    return scored[-1] if scored else None


def objectives(sweep_row: Row) -> list[Objective]:
    """What a sweep looks for; those stored before there could be several have one metric."""
    stored = sweep_row.resolved
    one = {"metric": stored.get("metric", "score"), "goal": stored.get("goal", "maximize")}
    return [Objective(**objective) for objective in stored.get("objectives", [one])]


def values_of(standing: Standing, wanted: Sequence[Objective]) -> dict[str, float | None]:
    return dict(zip((objective.metric for objective in wanted), standing.values, strict=True))


def standing(row: Row, run: StageRun, wanted: Sequence[Objective]) -> Standing:
    values = {item.name: item.value for item in (run.score, *run.parts)}
    return Standing(
        trial_id=row.id,
        number=row.number,
        state=TrialState(row.state),
        stage_run_id=run.id,
        resolution=run.resolution,
        values=tuple(values.get(objective.metric) for objective in wanted),
        gates=tuple(run.closed_gates),
    )


def told_of(row: Row) -> Mapping[str, float] | None:
    """Metric -> value, of a trial that somebody's own loop trained."""
    return row.attributes.get("told")


def sharing(rows: SweepRows) -> Sharing:
    others = {run_id for run_id, row in rows.run_rows.items() if row.sweep_id not in (None, rows.sweep.id)}
    return Sharing(
        wanted=sum(len(path) for path in rows.paths.values()),
        stage_runs=len(rows.runs),
        of_others=len(others),
        seconds_trained=sum(run.seconds for run in rows.runs.values() if run.id not in others),
        seconds_saved=sum(run.seconds * (len(run.trials) - (run.id not in others)) for run in rows.runs.values()),
    )


def reasons(ends: Iterable[Row], states: Mapping[int, str]) -> dict[int, str]:
    """Trial id to the sentence that says why it ended early; nothing of one that was taken up again since.

    states: of the trials, by their ids.
    """
    found = {}
    for row in ends:
        payload, state = row.payload, states.get(row.trial_id)
        said = str(payload.get("reason") or payload.get("error") or row.kind.replace(".", " "))
        if row.kind == f"trial.{state}" and said != state:
            found[row.trial_id] = said
    return found


def varying_parameters(parameters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names whose values differ between trials, or that only some trials have; in the order first seen."""
    names = list(dict.fromkeys(name for values in parameters for name in values))
    return [name for name in names if len({repr(values.get(name)) for values in parameters}) > 1]


def attempt(row: Row) -> Attempt:
    return Attempt(
        number=row.number,
        worker=row.worker,
        outcome=row.outcome,
        claimed=row.claimed,
        started=row.started,
        ended=row.ended,
        start_images=row.start_images,
        numerics_class=row.numerics_class,
        error=row.error,
    )


def workers(database: Database) -> list[Worker]:
    """Those that are there first."""
    with database.read.begin() as connection:
        rows = page_reads.all_workers(connection)
        busy = [row.doing["stage_run"] for row in rows if row.doing and "stage_run" in row.doing]
        on: dict[int, Row] = {}
        for row in page_reads.trials_on(connection, busy):
            on.setdefault(row.stage_run_id, row)
    return [worker(row, on, now=time.time()) for row in rows]


def worker(row: Row, on: Mapping[int, Row], *, now: float) -> Worker:
    doing, doing_url = None, None
    if row.doing and row.ended is None:
        word = {"train": "trains", "evaluate": "evaluates"}.get(row.doing.get("kind"), "works on")
        doing = f"{word} {row.doing.get('resolution')} px"
        found = on.get(row.doing.get("stage_run"))
        if found is not None:
            doing = f"{doing} of {found.sweep}/T{found.number}"
            doing_url = trial_url(found.sweep, found.number)
    return Worker(
        name=row.name,
        node=row.node,
        pid=row.pid,
        device=row.device,
        share=row.share,
        labels=row.labels,
        state=row.state,
        doing=doing,
        doing_url=doing_url,
        images_per_second=row.telemetry.get("images_per_second"),
        memory_bytes=row.telemetry.get("memory_bytes"),
        heartbeat_age_seconds=max(0.0, now - row.heartbeat),
        started=row.started,
        ended=row.ended,
    )


def model_files(database: Database, *, sweep: str | None = None) -> list[ModelFile]:
    """The models that can draw: those called best first, then the newest; of one sweep, or all."""
    with database.read.begin() as connection:
        rows = page_reads.all_models(connection)
    found = [
        ModelFile(
            model=Model(
                id=row.id,
                name=row.name,
                version=row.version,
                aliases=row.aliases,
                trial=f"{row.sweep}/T{row.number}",
                resolution=row.resolution,
            ),
            uri=row.uri,
            sha256=row.sha256,
        )
        for row in rows
        if sweep is None or row.sweep == sweep
    ]
    return sorted(found, key=lambda item: "best" not in item.model.aliases)


def lineage(database: Database, model: Model) -> ModelLineage:
    """The way from a version back to its data."""
    found = registry.lineage(database, registry.version(database, f"{model.name}:{model.version}"))
    return ModelLineage(
        tags=list(found.model.tags),
        stages=[
            ModelStage(
                resolution=stage.resolution,
                key=stage.key,
                images=stage.images,
                seconds=stage.seconds,
                weights_sha256=stage.weights_sha256,
                numerics=list(stage.numerics),
                trained_for=stage.trained_for,
            )
            for stage in found.stages
        ],
        sweep=found.source.sweep,
        submitted_by=found.source.submitted_by,
        submitted_at=found.source.submitted_at,
        data=found.source.data_name,
        data_key=found.source.data_key,
        judge_sha256=found.judge_sha256,
        commit=found.source.provenance.get("commit"),
        dirty=found.source.provenance.get("dirty"),
        numerics=list(found.numerics),
        alias_history=[
            AliasMove(alias=move.alias, version=move.version, act=move.act, by=move.by, at=move.at)
            for move in found.history
        ],
    )


def models(database: Database, *, sweep: str | None = None) -> list[Model]:
    return [item.model for item in model_files(database, sweep=sweep)]
