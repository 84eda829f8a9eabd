"""A W&B sweep becomes a sweep file that our own reader takes; what has no counterpart is said."""

import math
from pathlib import Path

import pytest

from scheduler.sweepfile import read_sweep
from scheduler.wandb_import import import_wandb
from t2f.errors import SpecError
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml

WANDB = """
program: train.py
command: [python, train.py]
name: faces & hair
method: bayes
run_cap: 30
metric: {name: val/fid, goal: minimize, target: 10}
parameters:
  generator.learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.003}
  discriminator.learning_rate: {distribution: log_uniform, min: -9.2, max: -5.8}
  r1_gamma: {min: 0.1, max: 10.0}
  loss:
    parameters:
      name: {values: [wgan-gp, logistic-r1]}
  network: {parameters: {latent: {distribution: q_uniform, min: 64, max: 128, q: 16}}}
  dropout: {value: 0.1}
  text.hidden: {min: 16, max: 64}
  text.layers: {distribution: normal, mu: 2, sigma: 1}
  text.caption_dropout: {value: 3}
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
"""


@pytest.fixture
def imported():
    return import_wandb(parse_yaml(WANDB, source="w.yaml"), source="w.yaml", dataset="faces")


def test_the_sweep_file_is_one_that_is_read(imported):
    text = imported.text()
    spec = read_sweep(Section(parse_yaml(text, source="x"), "x"), Path())
    assert (spec.name, spec.dataset, spec.budget.max_trials) == ("faces---hair", "faces", 30)
    assert (spec.early_terminate.type, spec.early_terminate.eta) == ("asha", 2)
    assert [(one.metric, one.goal) for one in spec.objectives] == [("score", "maximize")]
    known = {parameter.name: parameter for parameter in spec.parameters}
    assert known["loss.name"].values == ("wgan-gp", "logistic-r1")
    rate = known["generator.learning_rate"]
    assert (rate.distribution, rate.low, rate.high) == ("log_uniform", 0.0001, 0.003)
    low = known["discriminator.learning_rate"].low
    assert math.isclose(low, math.exp(-9.2)), "bounds of log_uniform are exponents"
    assert (known["text.hidden"].distribution, known["text.hidden"].low) == ("int_uniform", 16)
    assert known["loss.r1_gamma"].distribution == "uniform"


def test_what_has_no_counterpart_is_listed(imported):
    said = "\n".join(imported.notes)
    for word in (
        "program: has no counterpart",
        "command: has no counterpart",
        "metric.target",
        "'val/fid' is none of ours",
        "parameters.dropout: is no setting of ours",
        "the nearest is text.caption_dropout",
        "parameters.r1_gamma: taken for loss.r1_gamma",
        "the distribution normal has no counterpart",
        "text.caption_dropout: left out, text.caption_dropout = 3 is not allowed",
        "early_terminate.min_iter",
        "method: bayes",
        "stages: W&B knows none",
    ):
        assert word in said, word
    assert set(imported.content["parameters"]) == {
        "generator.learning_rate",
        "discriminator.learning_rate",
        "loss.r1_gamma",
        "loss.name",
        "network.latent",
        "text.hidden",
    }
    assert imported.text().startswith("# method: bayes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: grid", "'parameters' is missing"),
        ("method: magic\nparameters: {}", "must be one of grid, random, bayes"),
        ("parameters: {loss.name: hinge}", "give a mapping such as value: hinge"),
        ("parameters: {text.hidden: {min: a, max: 3}}", "left out"),
        ("parameters: {text.hidden: {values: 64}}", "left out"),
    ],
)
def test_what_is_no_sweep_of_theirs(text, message):
    content = parse_yaml(text, source="w.yaml")
    if message == "left out":
        assert message in "\n".join(import_wandb(content, source="w.yaml", dataset="faces").notes)
        return
    with pytest.raises(SpecError, match=message):
        import_wandb(content, source="w.yaml", dataset="faces")


def test_a_note_stays_one_comment():
    text = import_wandb({"method": "grid", "parameters": {"a\nb: c": {"value": 1}}}, source="w", dataset="d").text()
    assert parse_yaml(text, source="x")["method"] == "grid"
    assert "# parameters.a b: c: is no setting of ours" in text


def test_a_random_sweep_without_an_end_gets_one():
    found = import_wandb({"method": "random", "parameters": {}}, source="w", dataset="d")
    assert found.content["budget"] == {"max_trials": 20}
    assert any("budget.max_trials" in note for note in found.notes)
