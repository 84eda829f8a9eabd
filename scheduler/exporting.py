"""A sweep's trials as a table (CSV, Parquet) or as JSON: parameters, states, and every figure at every resolution."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler import reads
from scheduler.database import Database
from scheduler.reads import StageRun, Sweep, Trial
from t2f.data.files import writing
from t2f.errors import UserError

FORMATS = ("csv", "parquet", "json")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes a cell for a formula by


def export_table(database: Database, sweep: Sweep) -> list[dict[str, Any]]:
    """One row a trial, each with the same columns.

    trial, state, origin, one column a parameter, and for each resolution `state@16`, `images@16`, `seconds@16`,
    `key@16`, `weights@16` and one for each figure, such as `score@16`. What there is not is None.
    """
    paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
    rows = [_row(trial, paths.get(trial.id, [])) for trial in reads.trials(database, sweep.id)]
    columns: dict[str, None] = {}
    for part in ("trial", "parameters", "stages"):
        found = {name: None for row in rows for name in row[part]}
        columns |= dict.fromkeys(sorted(found, key=_by_resolution) if part == "stages" else found)
    flat = [row["trial"] | row["parameters"] | row["stages"] for row in rows]
    return [{name: row.get(name) for name in columns} for row in flat]


def _by_resolution(column: str) -> int:
    return int(column.rpartition("@")[2])


def _row(trial: Trial, path: list[StageRun]) -> dict[str, dict[str, Any]]:
    stages: dict[str, Any] = {}
    for run in path:
        facts: dict[str, Any] = {
            "state": str(run.state),
            "images": run.images,
            "seconds": run.seconds,
            "key": run.key,
            "weights": run.weights_sha256,
        }
        if run.evaluation is not None:
            facts |= {name: run.evaluation.value(name) for name in run.evaluation.metrics}
        stages |= {f"{name}@{run.resolution}": value for name, value in facts.items()}
    return {
        "trial": {"trial": trial.name, "state": str(trial.state), "origin": trial.origin},
        "parameters": dict(trial.parameters),
        "stages": stages,
    }


def export_json(database: Database, sweep: Sweep) -> dict[str, Any]:
    """All of it with its structure, figures with their intervals."""
    paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
    return {
        "sweep": sweep.name,
        "state": str(sweep.state),
        "metric": sweep.resolved.metric,
        "goal": sweep.resolved.goal,
        "data": sweep.data_name,
        "data_key": sweep.data_key,
        "labels": dict(sweep.resolved.resources.labels),
        "trials": [
            {
                "trial": trial.name,
                "state": str(trial.state),
                "origin": trial.origin,
                "parameters": dict(trial.parameters),
                "attributes": dict(trial.attributes),
                "stages": [_stage(run) for run in paths.get(trial.id, [])],
            }
            for trial in reads.trials(database, sweep.id)
        ],
    }


def _stage(run: StageRun) -> dict[str, Any]:
    return {
        "resolution": run.resolution,
        "key": run.key,
        "state": str(run.state),
        "images": run.images,
        "seconds": run.seconds,
        "weights_sha256": run.weights_sha256,
        "metrics": {} if run.evaluation is None else {name: dict(one) for name, one in run.evaluation.metrics.items()},
    }


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The table as CSV, safe to open in a spreadsheet: text that would be a formula there begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if rows:
        writer.writerow([_cell(name) for name in rows[0]])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    safe = f"'{text}" if text.startswith(FORMULA) else text
    return safe.replace("\r\n", "\n").replace("\r", "\n")  # a lone \r ends a line for some readers


def export_sweep(database: Database, sweep: Sweep, *, format: str, out: Path | None) -> str | None:
    """Write a sweep to a file; without one, the text that would be in it. UserError where that cannot be."""
    if format not in FORMATS:
        raise UserError(f"--format {format} is not allowed; it must be one of {', '.join(FORMATS)}")
    if format == "parquet":
        if out is None:
            raise UserError("Parquet is no text; give --out FILE.parquet")
        _write_parquet(export_table(database, sweep), out)
        return None
    if format == "csv":
        text = as_csv(export_table(database, sweep))
    else:
        text = json.dumps(_finite(export_json(database, sweep)), indent=1) + "\n"
    if out is None:
        return text
    with writing(out):
        out.write_text(text, encoding="utf-8")
    return None


def _write_parquet(rows: list[Mapping[str, Any]], out: Path) -> None:
    try:
        # An optional package, and one that takes half a second to import.
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "--format parquet needs the package pyarrow, which is not installed; pip install 't2f[dataframe]', "
            "or give --format csv"
        ) from error
    names = list(rows[0]) if rows else []
    columns = {name: _column([row[name] for row in rows]) for name in names}
    with writing(out):
        parquet.write_table(pyarrow.table(columns), out)


def _column(values: list[Any]) -> list[Any]:
    """One type in a column: numbers as they are, all else as text where kinds are mixed."""
    kinds = {bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in values}
    return values if len(kinds - {type(None)}) <= 1 else [None if value is None else str(value) for value in values]


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
