"""A sweep's judgement: from rows and files, as JSON and as a user reads it; `t2f evaluate` on a bundle and trials."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from scheduler import promoting, reads, settling
from scheduler.judgement import MEAN_RANK, judge_sweep
from scheduler.reads import Sweep
from t2f.errors import UserError
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.measured import SIX, finish_evaluation
from tests.scheduler.test_cli import own_home, t2f  # noqa: F401 - a fixture
from tests.t2f.clip_folder import tiny_clip
from tests.t2f.helpers import write_bundle


@pytest.fixture
def judged(submit, store, worker, tmp_path) -> Sweep:
    """Six trials, better with the number at every stage; T5, the best of all, is behind a gate."""
    sweep = submit(SIX, name="six")
    qualities = [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]
    while job := claim(store, worker):
        start(store, job)
        if job.kind == "train":
            finish(store, job)
        else:
            number = next(
                trial_id
                for trial_id, path in reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key).items()
                if any(run.id == job.stage_run_id for run in path)
            )
            trial = next(trial for trial in reads.trials(store.database, sweep.id) if trial.id == number)
            gates = "copies" if trial.number == 5 else None
            finish_evaluation(store, job, tmp_path / "files", quality=qualities[trial.number], gates=gates)
        settling.settle(store, reads.sweep(store.database, "six"))
    return reads.sweep(store.database, "six")


def test_places_chances_and_gates(judged, store, tmp_path):
    found = judge_sweep(store.database, tmp_path / "files", judged, metric=None)
    assert [(place.rank, place.number) for place in found.places] == [(1, 4), (2, 3), (3, 2), (4, 1), (5, 0), (None, 5)]
    best = found.places[0]
    assert best.wins["T3"] > 0.99
    assert best.ties == ()
    assert found.places[-1].gates == ("copies",)
    assert {resolution: round(figure.value, 6) for resolution, figure in found.correlations.items()} == {4: 1.0}
    assert found.correlations[4].note == "6 trials"
    assert found.judge["r_precision"]["value"] == 0.75


def test_other_metrics_and_the_mean_of_ranks(judged, store, tmp_path):
    by_distance = judge_sweep(store.database, tmp_path / "files", judged, metric="pixel_distance")
    assert [place.number for place in by_distance.places] == [4, 3, 2, 1, 0, 5]
    assert by_distance.places[0].wins["T0"] > 0.99, "a smaller distance is better"
    by_rank = judge_sweep(store.database, tmp_path / "files", judged, metric=MEAN_RANK)
    assert by_rank.metrics == ("pixel_distance", "colour_distance", "shuffle_gap")
    # T5 is ranked among them before its gate is looked at.
    assert [place.value.value for place in by_rank.places] == [2, 3, 4, 5, 6, 1]
    for name in ("nonsense", "swd"):
        with pytest.raises(UserError, match="is not known" if name == "nonsense" else "has a value of swd"):
            judge_sweep(store.database, tmp_path / "files", judged, metric=name)


def test_without_its_file_or_with_a_damaged_one_the_ranking_stands(judged, store, tmp_path):
    for path in (tmp_path / "files").rglob("parts.json"):
        path.write_text("{}")
    found = judge_sweep(store.database, tmp_path / "files", judged, metric=None)
    assert [place.number for place in found.places] == [4, 3, 2, 1, 0, 5]
    assert all(not place.wins and not place.ties for place in found.places)


def test_the_best_model_is_one_that_passes(judged, store):
    made = []

    def make_bundle(sweep, trial, run, checkpoint):
        made.append(trial.number)
        return "uri", "h" * 64

    promoting.promote_best(store, judged, make_bundle)
    assert made == [4]


def test_the_command_ranks(judged, tmp_path):
    (tmp_path / "files").mkdir(exist_ok=True)
    said = t2f("rank", "six", home=tmp_path)
    assert "R-precision on real held-out pairs 0.750" in said
    assert "1 against 19, chance 5%" in said
    assert "not ranked: six/T5, score 0.900 at 8 px; gates closed: copies (it returns training images)" in said
    assert "rank at 4 px against the final one: Spearman 1.00" in said
    found = json.loads(t2f("rank", "six", "--metric", "mean-rank", "--json", home=tmp_path))
    assert found["ranking"][0]["trial"] == "six/T4"
    assert found["ranking"][0]["win_probability"]["T3"] > 0.9
    assert "allowed: mean-rank, score" in t2f("rank", "six", "--metric", "x", home=tmp_path, code=2)
    assert "there is no sweep 'other'" in t2f("rank", "other", home=tmp_path, code=2)
    shown = t2f("sweep", "show", "six", home=tmp_path)
    assert "copies" in shown


def test_a_bundle_is_evaluated_without_a_scheduler(own_home, tiny_data, tmp_path):  # noqa: F811
    bundle = tmp_path / "model.safetensors"
    write_bundle(bundle, tiny_data)
    refused = t2f("evaluate", bundle, "--images", 24, home=own_home, code=2)
    assert "does not say which data" in refused or "is not the one that" in refused
    command = ("evaluate", bundle, "--data", "tiny", "--images", 24)
    said = t2f(*command, "--dry-run", home=own_home)
    assert "would draw 24 faces of 16 px" in said
    assert "for the validation split of tiny and measure swd, " in said
    said = t2f(*command, home=own_home)
    assert "R-precision on real" in said
    assert "needs --inception WEIGHTS" in said
    assert "gates closed: text (it draws the same whatever the words are)" in said
    found = json.loads(t2f(*command, "--metric", "swd", "--split", "test", "--json", home=own_home))
    assert set(found["metrics"]) == {"swd"}
    assert found["split"] == "test"
    assert found["metrics"]["swd"]["floor"] < found["metrics"]["swd"]["value"]
    assert "the TEST split" in t2f(*command, "--metric", "swd", "--split", "test", home=own_home)
    clip = ("--clip", tiny_clip(tmp_path / "clip"), "--metric", "clip_score", "--metric", "clip_r_precision")
    found = json.loads(t2f(*command, *clip, "--json", home=own_home))["metrics"]
    assert set(found) == {"clip_score", "clip_r_precision"}
    assert 0 <= found["clip_score"]["low"] <= found["clip_score"]["value"] <= 100
    assert found["clip_score"]["floor"] != found["clip_score"]["ceiling"]
    for words, reason in (
        (("--metric", "swdd"), "--metric swdd is not known; allowed: score, fidelity, text, swd"),
        (("--split", "tset"), "--split tset is not known; allowed: train, validation, test"),
        (("--images", "3"), "--images 3 is not allowed"),
        (("--inception", tmp_path / "no.pth"), "no.pth does not exist"),
        (("--clip", tmp_path / "no"), "no is no folder"),
        (("--clip", tmp_path), "has no config.json; --clip takes a folder with"),
    ):
        assert reason in t2f(*command, *words, home=own_home, code=2)
    assert "nowhere.safetensors does not exist" in t2f("evaluate", "nowhere.safetensors", home=own_home, code=2)


def test_trials_without_a_sealed_stage_are_named(judged, tmp_path, home):
    (tmp_path / "data").symlink_to(home / "data")
    assert "would draw 2000 faces of 8 px with six/T1" in t2f("evaluate", "six/T1", "--dry-run", home=tmp_path)
    assert "would draw 16 faces of 4 px" in t2f("evaluate", "T1@4", "--images", 16, "--dry-run", home=tmp_path)
    said = t2f("evaluate", "six/T1@32", home=tmp_path, code=2)
    assert "six/T1 has no sealed stage of 32 px; there are: six/T1@4, six/T1@8" in said


def test_the_documented_metric_of_ones_own_is_measured(own_home, tiny_data, tmp_path):  # noqa: F811
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (settings,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    (group, entries), *_ = tomllib.loads(settings)["project"]["entry-points"].items()
    # What pip would install: the module, and the package's description beside it.
    site = tmp_path / "site"
    description = site / "brightness-1.0.dist-info"
    description.mkdir(parents=True)
    (site / "brightness.py").write_text(module)
    (description / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    listed = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (description / "entry_points.txt").write_text(f"[{group}]\n{listed}")
    bundle = tmp_path / "model.safetensors"
    write_bundle(bundle, tiny_data)
    command = ("evaluate", bundle, "--data", "tiny", "--images", 24, "--metric", "brightness", "--json")
    found = json.loads(t2f(*command, home=own_home, path=site))["metrics"]["brightness"]
    assert 0 < found["low"] < found["value"] < found["high"] < 1
    assert 0 < found["floor"] < 1
    assert found["floor"] != found["ceiling"]
