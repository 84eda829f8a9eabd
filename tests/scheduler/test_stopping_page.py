"""The examples of docs/stopping.md are sweep files, and come to what the page says."""

import re
from pathlib import Path

import pytest

from scheduler.growing import generations
from scheduler.rungs import TYPES
from scheduler.sweepfile import SweepSpec, read_sweep
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "stopping.md").read_text(encoding="utf-8")


@pytest.fixture
def examples() -> list[SweepSpec]:
    found = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    return [
        read_sweep(Section(parse_yaml(text, source="docs/stopping.md"), "docs/stopping.md"), Path()) for text in found
    ]


def test_the_examples_are_read(examples):
    stopping, growing = examples
    assert (stopping.branch, stopping.replicate.trials, stopping.early_terminate.min_stage) == (3, 9, 8)
    assert (growing.method, growing.growing.keep) == ("grow", 4)


def test_the_population_grows_within_its_budget(examples):
    growing = examples[1].growing
    alive = [count for count, _ in generations(growing, (4, 8, 16, 32), 36)]
    assert alive == [12, 12, 12, 12]
    assert 12 + sum(born for _, born in generations(growing, (4, 8, 16, 32), 36)) == 36


def test_every_type_of_early_stopping_is_explained():
    for kind in TYPES:
        assert f"| `{kind}` |" in PAGE
