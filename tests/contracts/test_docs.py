"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest
import typer

from scheduler.cli import app
from scheduler.search.methods import BUILT_IN
from scheduler.search.told import ToldState
from scheduler.states import RunState, SweepState, TrialState
from scheduler.sweepfile import KEYS, METRICS, read_sweep
from t2f.settings import SETTINGS
from t2f.settings_page import settings_page
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_settings_page_is_that_of_the_code():
    assert text("docs/settings.md") == settings_page(), "run: python -m t2f.settings_page > docs/settings.md"
    assert len(SETTINGS) == text("docs/settings.md").count("\n| `")


def test_every_word_of_a_sweep_file_is_explained():
    page = text("docs/sweeps.md")
    for key in KEYS:
        assert f"`{key}" in page, key
    for metric in METRICS:
        assert f"`{metric}`" in page, metric


def test_the_example_in_the_page_is_a_sweep_file():
    _, example = re.findall(r"```yaml\n(.*?)```", text("docs/sweeps.md"), re.S)  # the tutorial's is run
    spec = read_sweep(Section(parse_yaml(example, source="docs/sweeps.md"), "docs/sweeps.md"), ROOT)
    assert spec.early_terminate.min_stage == 16


def commands(group: typer.Typer, prefix: str = "t2f") -> list[str]:
    found = [f"{prefix} {command.name}" for command in group.registered_commands]
    for sub in group.registered_groups:
        found += commands(sub.typer_instance, f"{prefix} {sub.name}")
    return found


@pytest.mark.parametrize("command", commands(app))
def test_every_command_is_in_the_command_page(command):
    assert f"`{command}" in text("docs/commands.md"), command


def test_every_command_that_a_page_names_exists():
    known = commands(app)
    for page in PAGES:
        for words in re.findall(r"`t2f ([a-z-]+(?: [a-z-]+)?)", page.read_text(encoding="utf-8")):
            starts = [known_command for known_command in known if f"t2f {words}".startswith(known_command)]
            starts += [known_command for known_command in known if known_command.startswith(f"t2f {words.split()[0]}")]
            assert starts, f"{page.name}: t2f {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(\s*([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://127.0.0.1", "https://")):
            assert (page.parent / target).exists(), target


def test_the_readme_tree_names_every_package():
    readme = text("README.md")
    for folder in ("t2f", "workers", "scheduler", "dashboard", "tests", "examples", "docs"):
        assert f"    {folder}/" in readme


def test_the_glossary_has_the_words_of_the_design():
    glossary = text("docs/glossary.md")
    for word in (
        "sweep",
        "trial",
        "stage",
        "stage run",
        "demand",
        "attempt",
        "worker",
        "evaluation",
        "sample",
        "probe",
    ):
        assert f"**{word}**" in glossary, word
    assert {str(state) for enum in (RunState, TrialState, SweepState) for state in enum} <= set(
        re.findall(r"[a-z]+", text("docs/commands.md"))
    )


def test_the_examples_of_the_search_are_sweep_files():
    examples = re.findall(r"```yaml\n(.*?)```", text("docs/search.md"), re.S)
    read = [read_sweep(Section(parse_yaml(one, source="docs/search.md"), "docs/search.md"), ROOT) for one in examples]
    assert [(one.method, len(one.objectives)) for one in read] == [("tpe", 1), ("tpe", 2)]
    assert len(read[0].constraints) == len(read[0].search.enqueue) == 1


def test_every_method_and_state_that_a_sampler_knows_is_explained():
    page = text("docs/search.md")
    for word in (*BUILT_IN, *ToldState):
        assert f"`{word}`" in page, word
