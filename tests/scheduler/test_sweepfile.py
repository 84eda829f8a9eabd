"""Sweep files: what is taken, and one clear sentence for everything else."""

import json
from pathlib import Path

import pytest

from scheduler.objectives import Objective
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
    assert (spec.seed, spec.preset, spec.method) == (0, "article", "grid")
    assert spec.objectives == (Objective(metric="score", goal="maximize"),)
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


def when(condition: dict, **loss) -> dict:
    """Parameters of which the second is tried under a condition."""
    return {
        "loss.name": {"values": ["wgan-gp", "logistic-r1"], **loss},
        "loss.r1_gamma": {"values": [1, 2], "when": condition},
    }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nam", "x", "unknown key 'nam'; did you mean 'name'?"),
        ("zzz", 1, "unknown key 'zzz'. Allowed: name, data"),
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
        ("method", "tpe", "max_trials is missing"),
        ("method", 3, "method = 3 is not allowed; it must be one of grid, random, sobol, grow, tpe, gp, cmaes"),
        ("method", "gird", "did you mean 'grid'"),
        ("method", "bayes", "what other sweeps call so is 'gp' or 'tpe'"),
        ("method", "random", "max_trials is missing"),
        ("branch", 3, "is not allowed with method: grid, which tries every late value already"),
        ("branch", 0, "branch = 0 is not allowed; it must be a whole number"),
        ("replicate", {"tops": 3}, "did you mean 'top'"),
        ("replicate", {"top": 0}, "top = 0 is not allowed"),
        ("replicate", 3, "replicate = 3 is not allowed"),
        ("grow", {"population": 4}, "grow is given, but method = 'grid'"),
        ("method", "grow", "needs a parameter that can change from one stage to the next, and none varies"),
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
        (LEARNING_RATE, {"distribution": "uniform", "min": 0.11, "max": 0.19, "q": 0.1}, "no multiple of q = 0.1 lies"),
        (LEARNING_RATE, {"distribution": "uniform", "min": 0.1, "max": 0.9, "q": 1e-11}, "at most 1,000,000,000 are"),
        (
            "parameters/text.layers",
            {"distribution": "int_uniform", "min": 1.5, "max": 4},
            "min = 1.5 is not allowed",
        ),
        (
            "parameters/text.layers",
            {"distribution": "int_uniform", "min": 1, "max": 4, "q": 0.5},
            "give a whole number",
        ),
        (
            "parameters",
            {"loss.r1_gamma": {"values": [1, 2], "when": {"loss.name": "hinge"}}},
            "is no parameter above it",
        ),
        ("parameters", when({"loss.name": "hinge"}), "loss.name = 'hinge' never holds; it must be one of wgan-gp, log"),
        ("parameters", when({"loss.name": ["wgan-gp", "wgan-gp"]}), "or a list that holds each once"),
        ("parameters", when({"loss.name": []}), "give a value, or a list"),
        (
            "parameters",
            when({"loss.name": "wgan-gp"}, from_stage=8),
            "is drawn at 8 px; give this one from_",
        ),
        ("constraints", "a < b", "constraints = 'a < b' is not allowed; give a list of texts"),
        ("constraints", [3], "give a list of texts such as"),
        ("constraints", ["loss.drift <"], "entry 1: 'loss.drift <', column 13: a parameter, a number"),
        (
            "constraints",
            ["loss.drift < 1"],
            "entry 1: 'loss.drift < 1': loss.drift is no parameter of this sweep",
        ),
        ("constraints", ["loss.drft < 1"], "did you mean 'loss.drift'"),
        ("metric", [], "metric = [] is not allowed"),
        ("metric", ["score"], "or a list of such mappings"),
        ("metric", [{"name": "score"}, {"name": "score"}], "metric names score, score; give each metric once"),
        ("metric", [{"name": "score"}, {"nam": "swd"}], "entry 2: unknown key 'nam'; did you mean 'name'"),
        ("parallel", 2, "parallel does not go with method: grid"),
        ("warm_start", "other", "warm_start does not go with method: grid, since it looks at no result"),
        ("enqueue", {}, "enqueue = {} is not allowed; give a list of mappings"),
        ("enqueue", [{"loss.drift": 1}], "enqueue, entry 1: loss.drift is no parameter of this sweep"),
        ("early_terminate", {"type": "halfing"}, "did you mean 'halving'"),
        ("early_terminate", {"type": "halving", "eta": 1}, "eta = 1"),
        ("early_terminate", {"type": "halving", "min_stage": 64}, "min_stage = 64 is no stage"),
        (
            "early_terminate",
            {"type": "halving", "min_stage": 16},
            "would stop nobody: min_stage = 16 is the last stage",
        ),
        ("early_terminate", {"eta": 3, "min_stage": 8}, "eta, min_stage would have no effect, since 'type' is missing"),
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


SEARCH = """
name: x
data: {dataset: tiny}
preset: small
method: METHOD
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters:
  loss.name: {values: [wgan-gp, logistic-r1, hinge]}
  generator.learning_rate: {distribution: log_uniform, min: 1e-4, max: 1e-2}
  loss.r1_gamma: {min: 0.1, max: 10, distribution: log_uniform, when: {loss.name: [logistic-r1, hinge]}}
  loss.gradient_penalty: {values: [1, 10], when: {loss.name: wgan-gp}}
budget: {max_trials: 10}
"""


def read_text(text: str):
    return read(parse_yaml(text, source="x.yaml"))


LINES = """\
name: x
data: {dataset: tiny}
preset: small
method: tpe
metric:
- name: score
- name: swd
stages:
  resolutions: [4, 8]
  images: [40, 40]
  batch: 8
parameters:
  loss.name:
    values: [wgan-gp, logistic-r1]
  generator.learning_rate: {distribution: log_uniform, min: 1e-4, max: 1e-2}
  loss.r1_gamma:
    distribution: log_uniform
    min: 0.1
    max: 10
    when:
      loss.name: logistic-r1
enqueue:
- loss.name: wgan-gp
- loss.name: logistic-r1
constraints:
- generator.learning_rate <= 0.01
resources:
  priority: 50
probe:
  captions: [a face]
budget:
  max_trials: 10
after: x
"""


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: x\n", "name: x y\n", "1: name = 'x y' is"),
        ("preset: small", "preset: smal", "3: preset = 'smal' is"),
        ("method: tpe", "method: tp", "4: method = 'tp' is"),
        ("name: swd", "name: sw", "7: metric, entry 2: name = 'sw' is"),
        ("stages:", "stage:", "8: unknown key 'stage'; did you mean 'stages'?"),
        ("resolutions: [4, 8]", "resolutions: 4", "9: stages: resolutions = 4 is"),
        ("batch: 8", "batch: eight", "11: stages: batch = 'eight' is"),
        ("batch: 8", "bach: 8", "11: stages: unknown key 'bach'"),
        ("  loss.name:\n    v", "  loss.nam:\n    v", "13: parameters.loss.nam: "),
        ("logistic-r1]", "logistic]", "13: parameters.loss.name: "),
        ("values: [wgan-gp, logistic-r1]", "values: []", "14: parameters.loss.name: values = [] is"),
        ("min: 1e-4", "min: 1", "15: parameters.generator.learning_rate: min = 1 must"),
        ("min: 0.1", "min: -1", "18: parameters.loss.r1_gamma: min = -1 is"),
        ("max: 10\n", "max: ten\n", "19: parameters.loss.r1_gamma: max = 'ten' is"),
        ("      loss.name: logistic-r1", "      loss.name: hinge", "20: parameters.loss.r1_gamma: when: "),
        ("- loss.name: wgan-gp", "- loss.name: hinge", "23: enqueue, entry 1: loss.name = 'hinge' is"),
        ("learning_rate <= 0.01", "learning <= 0.01", "25: constraints, entry 1: "),
        ("priority: 50", "priority: 500", "28: resources: priority = 500 is"),
        ("[a face]", "[1]", "30: probe: captions must"),
        ("max_trials: 10", "max_trials: 0", "32: budget: max_trials = 0 is"),
        ("  max_trials: 10", "  {}", "31: budget: max_trials is missing"),
        ("after: x", "after: x y", "33: after: name = 'x y' is"),
    ],
)
def test_mistakes_are_named_with_their_line(old, new, place):
    assert LINES.count(old) == 1
    with pytest.raises(SpecError) as caught:
        read_text(LINES.replace(old, new))
    assert str(caught.value).startswith(f"x.yaml, line {place}")


def test_what_goes_with_a_method_is_read_and_kept(tiny_data):
    text = SEARCH.replace("METHOD", "tpe") + (
        "metric: [{name: score}, {name: swd}]\nparallel: 3\nwarm_start: before\n"
        "enqueue: [{loss.r1_gamma: 1, loss.name: hinge}, {loss.gradient_penalty: 10}]\n"
        "constraints: [generator.learning_rate * 2 < 0.01]\n"
    )
    resolved = read_text(text).resolve(tiny_data, "j" * 64)
    assert [one.goal for one in resolved.objectives] == ["maximize", "minimize"]
    assert (resolved.search.parallel, resolved.search.warm_start) == (3, "before")
    # In the order of the space; a value that only one other value allows brings it along.
    assert list(map(dict, resolved.search.enqueue)) == [
        {"loss.name": "hinge", "loss.r1_gamma": 1.0},
        {"loss.name": "wgan-gp", "loss.gradient_penalty": 10.0},
    ]
    assert resolved.space.parameters[2].allowed("loss.name") == ("logistic-r1", "hinge")
    assert ResolvedSweep.from_json(json.loads(json.dumps(resolved.to_json()))) == resolved


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("cmaes", "metric: [{name: score}, {name: swd}]", "method = 'cmaes' is not allowed with several objectives"),
        ("tpe", "metric: [{name: score}, {name: text}]\nearly_terminate: {type: asha}", "since a rung compares one"),
        ("tpe", "constraints: [loss.name == 1]", "loss.name is a word, and constraints compare numbers; use when"),
        ("tpe", "constraints: [loss.r1_gamma > loss.gradient_penalty]", "are never tried together"),
        ("tpe", "constraints: [generator.learning_rate > 1]", "1,000 draws in a row break one of generator.learning_r"),
        ("sobol", "constraints: [generator.learning_rate > 1]", "loosen them, or narrow the ranges"),
        ("tpe", "parallel: 0", "parallel = 0 is not allowed; it must be a whole number from 1"),
        ("tpe", "warm_start: 3", "warm_start = 3 is not allowed; it must be text"),
        ("tpe", "enqueue: [{generator.learning_rate: 0.5}]", "it must be a number from 0.0001 to 0.01"),
        ("tpe", "enqueue: [{loss.r1_gamma: 1}]", "only tried where loss.name is logistic-r1 or hinge; give loss.name"),
        ("tpe", "enqueue: [{loss.r1_gamma: 1, loss.name: wgan-gp}]", "and 'wgan-gp' is given; remove one of the two"),
        (
            "tpe",
            "constraints: [generator.learning_rate < 0.001]\nenqueue: [{generator.learning_rate: 0.002}]",
            "the given values break the constraint 'generator.learning_rate < 0.001'",
        ),
        ("grid", "", "generator.learning_rate has a distribution, and a grid needs values"),
    ],
)
def test_what_a_method_cannot_do_is_refused(tiny_data, method, more, message):
    with pytest.raises(SpecError) as caught:
        read_text(SEARCH.replace("METHOD", method) + more + "\n").resolve(tiny_data, "j" * 64)
    assert message in str(caught.value)


def test_a_method_that_learns_needs_something_to_learn(tiny_data):
    content = {**GOOD, "method": "tpe", "budget": {"max_trials": 3}, "parameters": {"loss.drift": 1}}
    with pytest.raises(SpecError, match="none varies, and method = 'tpe' needs one that does"):
        read(content).resolve(tiny_data, "j" * 64)
    lists = {**content, "method": "cmaes", "parameters": {"loss.drift": {"values": [1, 2]}}}
    with pytest.raises(SpecError, match="'cmaes' moves numbers with a distribution"):
        read(lists).resolve(tiny_data, "j" * 64)
    none = {
        **content,
        "method": "grid",
        "parameters": {"loss.drift": {"values": [1, 2]}},
        "constraints": ["loss.drift > 2"],
    }
    with pytest.raises(SpecError, match="no combination of the grid keeps loss.drift > 2"):
        read(none).resolve(tiny_data, "j" * 64)
