"""A sweep as CSV, Parquet and JSON: everything in it, and nothing that a spreadsheet would run."""

import builtins
import csv
import io
import json

import pytest

from scheduler import exporting, reads, settling
from scheduler.exporting import as_csv, export_sweep, export_table
from t2f.errors import UserError
from tests.scheduler.acting import work_off


@pytest.fixture
def ended(store, submit, worker):
    sweep = submit()
    while not settling.settle(store, sweep):
        work_off(store, worker, lambda job: 0.25)
    return reads.sweep(store.database, "s")


def test_a_row_a_trial_with_every_figure_at_every_resolution(store, ended):
    rows = export_table(store.database, ended)
    assert [row["trial"] for row in rows] == [f"s/T{number}" for number in range(6)]
    assert len({tuple(row) for row in rows}) == 1, "the same columns in each"
    columns = list(rows[0])
    assert columns[:5] == ["trial", "state", "origin", "loss.name", "generator.learning_rate"]
    stages = [column for column in columns if "@" in column]
    assert [int(column.partition("@")[2]) for column in stages] == sorted([4, 8, 16] * 6)
    first, complete = rows[0], next(row for row in rows if row["state"] == "complete")
    assert (complete["score@16"], complete["seconds@16"], complete["images@16"]) == (0.25, 1.0, 40)
    assert len(complete["key@16"]) == 64
    assert complete["weights@4"] == "w" * 64
    pruned = next(row for row in rows if row["state"] == "pruned")
    assert (pruned["score@8"], pruned["score@16"], pruned["key@16"]) == (0.25, None, None)
    assert first["generator.learning_rate"] == 0.001


def test_csv_can_be_read_again(store, ended):
    text = export_sweep(store.database, ended, format="csv", out=None)
    read = list(csv.DictReader(io.StringIO(text)))
    assert len(read) == 6
    assert read[5]["loss.name"] == "logistic-r1"
    assert float(read[5]["generator.learning_rate"]) == 0.004
    assert read[5]["score@4"] == "0.25"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a)", "\t=1", "\r=1"])
def test_cells_that_a_spreadsheet_would_run_are_text(text):
    ((header,), (cell,)) = csv.reader(io.StringIO(as_csv([{text: text}]), newline=""))
    assert header == cell == f"'{text}".replace("\r", "\n")


def test_numbers_are_left_as_they_are():
    rows = list(csv.reader(io.StringIO(as_csv([{"a": -1.5, "b": None, "c": True, "d": float("nan"), "e": 3}]))))
    assert rows[1] == ["-1.5", "", "true", "", "3"]
    assert as_csv([]) == ""


def test_parquet_holds_the_same_table(store, ended, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "s.parquet"
    assert export_sweep(store.database, ended, format="parquet", out=out) is None
    assert parquet.read_table(out).to_pylist() == export_table(store.database, ended)


def test_json_keeps_intervals_and_structure(store, ended, tmp_path):
    out = tmp_path / "s.json"
    export_sweep(store.database, ended, format="json", out=out)
    found = json.loads(out.read_text())
    assert (found["sweep"], found["metric"], len(found["trials"])) == ("s", "score", 6)
    stage = found["trials"][0]["stages"][0]
    assert stage["metrics"]["score"] == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_what_cannot_be_written_is_said(store, ended, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="must be one of csv, parquet, json"):
        export_sweep(store.database, ended, format="xlsx", out=tmp_path / "x.xlsx")
    with pytest.raises(UserError, match="give --out FILE.parquet"):
        export_sweep(store.database, ended, format="parquet", out=None)
    with pytest.raises(UserError, match="cannot be written"):
        export_sweep(store.database, ended, format="csv", out=tmp_path / "no" / "where.csv")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 't2f\[dataframe\]'"):
        export_sweep(store.database, ended, format="parquet", out=tmp_path / "x.parquet")
    assert exporting.FORMATS == ("csv", "parquet", "json")
