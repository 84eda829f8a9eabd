"""Sweep files: what is taken, and one clear sentence for everything else."""

from pathlib import Path

import pytest

from scheduler.sweepfile import ResolvedSweep, read_sweep, read_sweep_file
from t2f.errors import SpecError
from t2f.probe import NO_JUDGE
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml

GOOD = {
    "name": "x",
    "data": {"dataset": "tiny"},
    "stages": {"resolutions": [4, 8, 16], "kimg": [1, 2, 3], "fade": 0.5, "batch": 8},
}


def read(content: dict):
    return read_sweep(Section(content, "x.yaml"), Path())


def changed(path: str, value) -> dict:
    """GOOD with one field replaced; a path such as "stages.batch"."""
    content = {key: dict(part) if isinstance(part, dict) else part for key, part in GOOD.items()}
    *sections, last = path.split("/")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    return content


def test_defaults_are_filled_in():
    spec = read(GOOD)
    assert (spec.seed, spec.preset, spec.method, spec.metric, spec.goal) == (0, "article", "grid", "score", "maximize")
    assert spec.stages.images == (1000, 2000, 3000)
    assert spec.stages.batch == (8, 8, 8)
    assert spec.early_terminate.type == "none"


def test_the_example_is_a_sweep_that_shares(tiny_data):
    spec, text = read_sweep_file(Path(__file__).parents[2] / "examples" / "demo.yaml")
    assert text.startswith("#")
    assert spec.early_terminate.min_stage == 16
    assert len([p for p in spec.parameters if p.varies]) == 2
    with pytest.raises(SpecError, match="goes up to 32 px, but 'tiny' is prepared up to 16 px"):
        spec.resolve(tiny_data, "j")


def test_resolving_leaves_nothing_open_and_survives_json(tiny_data):
    spec = read(changed("stages/resolutions", [4, 8, 16]))
    resolved = spec.resolve(tiny_data, "j" * 64)
    assert ResolvedSweep.from_json(resolved.to_json()) == resolved
    assert len(resolved.evaluation.captions) >= 1
    assert resolved.evaluation.data_key == tiny_data.key


def test_data_without_captions_has_no_text_to_look_at(bare_data):
    resolved = read(GOOD).resolve(bare_data, NO_JUDGE)
    assert resolved.evaluation.captions == ("",)
    assert ResolvedSweep.from_json(resolved.to_json()) == resolved
    for metric in ("text", "attribute_share"):
        with pytest.raises(
            SpecError, match=f"'{metric}' is measured with captions, but 'bare' has none; use one of score"
        ):
            read(changed("metric/name", metric)).resolve(bare_data, NO_JUDGE)


def test_epochs_become_images_of_the_training_split(tiny_data):
    content = changed("stages/epochs", [2, 1, 0.5])
    del content["stages"]["kimg"]
    size = tiny_data.split("train").size
    assert read(content).resolve(tiny_data, "j").space.plan.images == (2 * size, size, round(size / 2))


LEARNING_RATE = "parameters/generator.learning_rate"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nam", "x", "unknown key 'nam'; did you mean 'name'?"),
        ("name", "", "name = '' is not allowed"),
        ("name", "../x", "is not allowed; use up to 100 letters"),
        ("name", 3, "name = 3"),
        ("data", "tiny", "data = 'tiny' is not allowed"),
        ("data/root", "/x", "run `t2f data prepare ROOT"),
        ("data/datset", "x", "did you mean 'dataset'"),
        ("seed", -1, "seed = -1 is not allowed; it must be a whole number"),
        ("seed", True, "seed = True"),
        ("seed", 1.5, "seed = 1.5"),
        ("preset", "smal", "did you mean 'small'"),
        ("method", "tpe", "not supported by this version"),
        ("method", "gird", "did you mean 'grid'"),
        ("method", "random", "max_trials is missing"),
        ("branch", 3, "is not allowed with method: grid, which tries every late value already"),
        ("branch", 0, "branch = 0 is not allowed; it must be a whole number"),
        ("replicate", {"tops": 3}, "did you mean 'top'"),
        ("replicate", {"top": 0}, "top = 0 is not allowed"),
        ("replicate", 3, "replicate = 3 is not allowed"),
        ("grow", {"population": 4}, "grow is given, but method = 'grid'"),
        ("method", "grow", "needs a parameter that can change from one stage to the next, and none varies"),
        ("constraints", [], "not supported by this version"),
        ("metric/name", "scor", "did you mean 'score'"),
        ("metric/goal", "minimize", "better means maximize"),
        ("stages", None, "'stages' is missing"),
        ("stages", [], "stages = [] is not allowed"),
        ("stages/resolutions", [], "it must be a list such as"),
        ("stages/resolutions", 16, "it must be a list such as"),
        ("stages/resolutions", [4, 8, 96], "start at 4 px and double"),
        ("stages/kimg", [1, 2], "2 values for 3 resolutions"),
        ("stages/kimg", "x", "a list of 3 numbers"),
        ("stages/kimg", [1, 2, 0], "stages.images = 0"),
        ("stages/kimg", [1, 2, 0.0001], "give whole numbers of images"),
        ("stages/kimg", [1, 2, 1e306], "give whole numbers of images"),
        ("stages/images", [1, 2, 3], "give the lengths once"),
        ("stages/batch", 0, "stages.batch = 0"),
        ("stages/batch", -1, "stages.batch = -1"),
        ("stages/batch", 2.5, "stages.batch = 2.5"),
        ("stages/batch", True, "batch = True"),
        ("stages/fade", 2, "stages.fade = 2"),
        ("stages/fdae", 0.5, "did you mean 'fade'"),
        (LEARNING_RATE, {"values": []}, "give a list with at least one value"),
        (LEARNING_RATE, {"values": 0.1}, "give a list with at least one value"),
        (LEARNING_RATE, {"values": [0.1, 0.1]}, "holds one twice"),
        (LEARNING_RATE, {"values": [0.1], "value": 0.1}, "give one of values, value, per_stage or distribution"),
        (LEARNING_RATE, {}, "given: none"),
        (LEARNING_RATE, {"values": [5]}, "generator.learning_rate = 5 is not allowed"),
        (LEARNING_RATE, "fast", "must be a number"),
        (LEARNING_RATE, {"distribution": "uniform", "min": 1e-3, "max": 1e-4}, "min = 0.001 must be below max"),
        (LEARNING_RATE, {"distribution": "log_uniform", "min": 0, "max": 0.1}, "must be above 0"),
        (LEARNING_RATE, {"distribution": "uniform", "min": 0.1, "max": 7}, "generator.learning_rate = "),
        (LEARNING_RATE, {"distribution": "unform", "min": 0.1, "max": 0.7}, "did you mean 'uniform'"),
        (LEARNING_RATE, {"distribution": "uniform", "min": "x", "max": 0.7}, "min = 'x'"),
        (LEARNING_RATE, {"value": 0.1, "from_stage": 64}, "from_stage = 64 is no stage"),
        (LEARNING_RATE, {"value": 0.1, "form_stage": 8}, "did you mean 'from_stage'"),
        ("parameters/generator.learning_rat", 0.1, "did you mean 'generator.learning_rate'"),
        ("parameters/network.latent", {"value": 64, "from_stage": 8}, "decides the shape"),
        ("early_terminate", {"type": "halfing"}, "did you mean 'halving'"),
        ("early_terminate", {"type": "halving", "eta": 1}, "eta = 1"),
        ("early_terminate", {"type": "halving", "min_stage": 64}, "min_stage = 64 is no stage"),
        ("early_terminate", {"type": "median", "eta": 3}, "eta has no meaning for type: median"),
        ("budget", {"max_trials": 0}, "max_trials = 0"),
        ("resources", {"num_gpus": 0.5}, "t2f up --num-gpus"),
        ("resources", {"priority": 101}, "priority = 101"),
        ("retry", {"code": "x"}, "code = 'x'"),
        ("probe", {"captions": 3}, "captions must be a file or a list"),
        ("probe", {"captions": "missing.txt"}, "missing.txt cannot be read"),
        ("probe", {"seeds": 0}, "seeds = 0"),
        ("probe", {"images": 3}, "images = 3"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mistakes_are_named_with_place_value_and_rule(tiny_data, path, value, message):
    with pytest.raises(SpecError) as caught:
        read(changed(path, value)).resolve(tiny_data, "j").space.stages({"network.latent": 64})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


GROWING = {
    **GOOD,
    "method": "grow",
    "grow": {"population": 6},
    "parameters": {
        "generator.learning_rate": {"distribution": "log_uniform", "min": 1e-4, "max": 1e-2},
        "network.feature_max": {"values": [8, 16]},
    },
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grow": {}}, "'population' is missing"),
        ({"grow": {"population": 1}}, "population = 1 is not allowed"),
        ({"grow": {"population": 6, "kep": 2}}, "did you mean 'keep'"),
        ({"grow": {"population": 6, "truncate": 0.2}}, "'truncate' has no meaning for preset: beam"),
        ({"grow": {"population": 6, "preset": "pbt", "keep": 2}}, "'keep' has no meaning for preset: pbt"),
        ({"grow": {"population": 6, "preset": "ptb"}}, "did you mean 'pbt'"),
        ({"grow": {"population": 6, "perturb": [1, 2]}}, "give a list of factors from 0.01 to 100, none of them 1"),
        ({"grow": {"population": 6, "perturb": 0.2}}, "perturb = 0.2 is not allowed"),
        ({"grow": {"population": 6, "resample": 2}}, "resample = 2"),
        ({"grow": {"population": 6, "min_stage": 64}}, "min_stage = 64 is no stage"),
        ({"budget": {"max_trials": 5}}, "population = 6 is more than budget.max_trials = 5"),
        ({"early_terminate": {"type": "asha"}}, "early_terminate is not allowed with method: grow"),
        ({"branch": 2}, "branch = 2 is not allowed with method: grow"),
        (
            {"parameters": {"network.feature_max": {"values": [8, 16]}}},
            "of those that vary, network.feature_max decide the shape of the weights",
        ),
    ],
)
def test_mistakes_in_growing_are_named(change, message):
    with pytest.raises(SpecError) as caught:
        read({**GROWING, **change})
    assert message in str(caught.value)


def test_growing_is_read_and_survives_json(tiny_data):
    resolved = read({**GROWING, "replicate": {"top": 2, "seeds": 4}}).resolve(tiny_data, "j" * 64)
    assert (resolved.growing.keep, resolved.growing.children, resolved.replicate.trials) == (4, 3, 8)
    assert ResolvedSweep.from_json(resolved.to_json()) == resolved
    stored = resolved.to_json()
    for field in ("growing", "branch", "replicate"):
        del stored[field]
    old = ResolvedSweep.from_json(stored)
    assert (old.growing, old.branch, old.replicate.trials) == (None, 1, 0), "of a sweep stored before these were words"


def test_branches_need_something_that_is_drawn_late():
    late = {"distribution": "uniform", "min": 1e-4, "max": 1e-2}
    content = {**GOOD, "method": "random", "budget": {"max_trials": 4}, "branch": 3}
    with pytest.raises(SpecError, match="needs a parameter that varies from a later stage on"):
        read({**content, "parameters": {"generator.learning_rate": late}})
    assert read({**content, "parameters": {"generator.learning_rate": {**late, "from_stage": 8}}}).branch == 3


def test_probe_captions_are_read_and_kept(tmp_path):
    (tmp_path / "probes.txt").write_text("a face\n\nanother face\n", encoding="utf-8")
    spec = read_sweep(Section(changed("probe", {"captions": "probes.txt"}), "x"), tmp_path)
    assert spec.probe.captions == ("a face", "another face")


def test_scientific_notation_is_a_number():
    content = {**GOOD, **parse_yaml("parameters: {generator.learning_rate: {values: [1e-4, 1e-3]}}", source="x")}
    assert read(content).parameters[0].values == (1e-4, 1e-3)


def test_off_and_on_are_the_words_they_look_like():
    content = {**GOOD, **parse_yaml("parameters: {text.normalise: {values: [off, on]}}", source="x")}
    assert read(content).parameters[0].values == ("off", "on")
