"""Samplers: the same rows and seed give the same suggestion, inside the space; others come by packages."""

import json
import math
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.search.evolution import evolved
from scheduler.search.listed import distinct, seed_of
from scheduler.search.methods import (
    LEARNING,
    Exhausted,
    SamplerError,
    checked_method,
    draw_parameters,
    identities,
    method_names,
    sampler_of,
)
from scheduler.search.ranges import contains
from scheduler.search.told import Told, ToldState
from scheduler.search.tpe import Study
from t2f.errors import SpecError
from tests.scheduler.search.spaces import D_RATE, GAMMA, LATE, LAYERS, LOSS, RATE, space

SPACE = space(RATE, D_RATE, LOSS, GAMMA, LAYERS)


def rows(count: int, *, running: int = 2, whole=SPACE) -> list[Told]:
    """Random trials of which the best have the highest generator learning rates; the last ones still run."""
    drawn, _ = distinct(whole, "random", count)
    order = sorted(drawn, key=lambda one: one["generator.learning_rate"])
    return [
        Told(number=number, parameters=one, state=ToldState.RUNNING)
        if number >= count - running
        else Told(
            number=number,
            parameters=one,
            state=ToldState.MEASURED,
            places=((order.index(one) + 0.5) / count,),
        )
        for number, one in enumerate(drawn)
    ]


def suggestion(method: str, told: list[Told], number: int, *, whole=SPACE, sampler=None) -> dict:
    sampler = sampler or sampler_of(method, whole, objectives=1)
    return draw_parameters(sampler, whole, number=number, stage=4, told=told, chosen={})


IN_ANOTHER_PROCESS = """
import json
from tests.scheduler.search.test_methods import rows, suggestion
print(json.dumps([suggestion(method, rows(30), 30) for method in ("tpe", "cmaes", "sobol", "random")]))
"""


def test_the_same_rows_and_seed_give_the_same_suggestion_in_two_processes():
    here = [suggestion(method, rows(30), 30) for method in ("tpe", "cmaes", "sobol", "random")]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert json.loads(done.stdout) == here
    assert here[0] != here[2]


def test_the_study_that_is_kept_is_only_a_cache():
    """Rows that came in bit by bit, changed and grew give what a fresh sampler gives."""
    kept = sampler_of("tpe", SPACE, objectives=1)
    for count in (12, 20, 31, 40):
        told = rows(count, running=count % 5)
        assert suggestion("tpe", told, count, sampler=kept) == suggestion("tpe", told, count)
    fewer = rows(15)
    assert suggestion("tpe", fewer, 15, sampler=kept) == suggestion("tpe", fewer, 15)


def test_a_study_that_was_asked_often_forgets_what_it_asked():
    study = Study(SPACE.parameters, objectives=1)
    for _ in range(3):
        study.follow(rows(12))
    sampler = sampler_of("tpe", SPACE, objectives=1)
    first = suggestion("tpe", rows(12), 12, sampler=sampler)
    for _ in range(130):
        suggestion("tpe", rows(12), 12, sampler=sampler)
    assert suggestion("tpe", rows(12), 12, sampler=sampler) == first


@pytest.mark.parametrize("method", ["tpe", "cmaes", "random", "sobol"])
def test_suggestions_lie_inside_and_keep_the_conditions(method):
    sampler = sampler_of(method, SPACE, objectives=1)
    told = rows(25)
    found = [suggestion(method, told, number, sampler=sampler) for number in range(25, 50)]
    for one in found:
        assert list(one) == [p.name for p in SPACE.parameters if p.name in one], "in the order of the space"
        assert ("loss.r1_gamma" in one) == (one["loss.name"] != "wgan-gp")
        assert all(contains(p, one[p.name]) for p in SPACE.parameters if p.name in one)
    assert {one["loss.name"] for one in found} >= {"wgan-gp", "hinge"} or method == "tpe"


def test_tpe_goes_where_the_good_ones_are():
    told = rows(60, running=0)
    found = [suggestion("tpe", told, number)["generator.learning_rate"] for number in range(60, 80)]
    assert sorted(found)[10] > 1e-2, "the range is 1e-5 to 1e-1, and higher was better"


def test_tpe_looks_elsewhere_where_many_trials_run():
    told = rows(40, running=0)
    alone = [math.log10(suggestion("tpe", told, number)["generator.learning_rate"]) for number in range(60, 80)]
    top = {**told[0].parameters, "generator.learning_rate": 10 ** (sum(alone) / 20)}
    crowd = [Told(number=40 + n, parameters=top, state=ToldState.RUNNING) for n in range(20)]
    beside = [
        math.log10(suggestion("tpe", [*told, *crowd], number)["generator.learning_rate"]) for number in range(60, 80)
    ]
    centre = sum(alone) / 20
    assert sum(abs(one - centre) for one in beside) > sum(abs(one - centre) for one in alone)


def test_failed_trials_are_the_worst():
    told = rows(40, running=0)
    high = [
        replace(one, state=ToldState.FAILED, places=(0.0,)) if one.parameters["generator.learning_rate"] > 1e-3 else one
        for one in told
    ]
    found = [suggestion("tpe", high, number)["generator.learning_rate"] for number in range(40, 60)]
    assert sorted(found)[10] < 1e-3


def test_two_objectives_are_weighed_by_tpe():
    told = [
        Told(number=one.number, parameters=one.parameters, state=one.state, places=one.places * 2) for one in rows(30)
    ]
    sampler = sampler_of("tpe", SPACE, objectives=2)
    found = [suggestion("tpe", told, number, sampler=sampler) for number in range(30, 40)]
    assert found == [suggestion("tpe", told, n, sampler=sampler_of("tpe", SPACE, objectives=2)) for n in range(30, 40)]
    assert sorted(one["generator.learning_rate"] for one in found)[5] > 1e-3


def test_constraints_hold_for_every_method():
    whole = space(RATE, D_RATE, LOSS, GAMMA, constraints=("generator.learning_rate <= discriminator.learning_rate",))
    for method in ("random", "tpe", "cmaes"):
        sampler = sampler_of(method, whole, objectives=1)
        told = rows(20, whole=whole)
        found = [suggestion(method, told, number, whole=whole, sampler=sampler) for number in range(20, 32)]
        assert all(one["generator.learning_rate"] <= one["discriminator.learning_rate"] for one in found)
    for method in ("random", "sobol"):
        found, dropped = distinct(whole, method, 20)
        assert (len(found), dropped) == (20, 0)
        assert all(one["generator.learning_rate"] <= one["discriminator.learning_rate"] for one in found)


def test_what_no_draw_keeps_ends_with_a_reason():
    whole = space(RATE, constraints=("generator.learning_rate > 1",))
    with pytest.raises(Exhausted, match=r"none of 1,010 proposals in a row keeps the constraints generator.learning_r"):
        suggestion("random", [], 0, whole=whole)
    with pytest.raises(SpecError, match="1,000 draws in a row break one of generator.learning_rate > 1; loosen"):
        distinct(whole, "sobol", 3)


def test_a_space_that_is_used_up_ends_with_a_reason():
    whole = space(LOSS)
    identity, taken, found = identities(whole), set(), []
    for number in range(3):
        one = draw_parameters(
            sampler_of("random", whole, objectives=1),
            whole,
            number=number,
            stage=4,
            told=[],
            chosen={},
            is_taken=lambda parameters: identity(parameters) in taken,
        )
        taken.add(identity(one))
        found.append(one["loss.name"])
    assert sorted(found) == ["hinge", "logistic-r1", "wgan-gp"]
    with pytest.raises(Exhausted, match="every combination has been tried"):
        draw_parameters(
            sampler_of("random", whole, objectives=1),
            whole,
            number=3,
            stage=4,
            told=[],
            chosen={},
            is_taken=lambda parameters: identity(parameters) in taken,
        )


def test_trials_that_differ_only_in_what_has_no_effect_are_the_same():
    identity = identities(space(RATE, LOSS, LATE))
    one = {"generator.learning_rate": 0.1, "loss.name": "hinge", "augment.strength": 0.1}
    assert identity(one) == identity({**one, "augment.strength": 0.9}), "no augmentation is chosen"
    assert identity(one) != identity({**one, "loss.name": "wgan-gp"})
    assert identity({"generator.learning_rate": 0.1, "loss.name": "hinge"}) is None, "its late value may still differ"


def test_late_parameters_are_drawn_when_their_stage_begins():
    whole = space(RATE, LOSS, GAMMA, LATE)
    sampler = sampler_of("tpe", whole, objectives=1)
    early = draw_parameters(sampler, whole, number=3, stage=4, told=[], chosen={})
    assert "augment.strength" not in early
    assert draw_parameters(sampler, whole, number=3, stage=8, told=[], chosen=early) == early
    late = draw_parameters(sampler, whole, number=3, stage=16, told=[], chosen=early)
    assert {**late, "augment.strength": None} == {**early, "augment.strength": None}
    other = draw_parameters(sampler, whole, number=4, stage=16, told=[], chosen=early)
    assert late["augment.strength"] != other["augment.strength"], "a child of the same prefix has a number of its own"
    # With enough results TPE draws it as well.
    told = [
        Told(
            number=number,
            parameters={**early, "augment.strength": number / 40},
            state=ToldState.MEASURED,
            places=((number + 0.5) / 40,),
        )
        for number in range(40)
    ]
    values = [
        draw_parameters(sampler, whole, number=number, stage=16, told=told, chosen=early)["augment.strength"]
        for number in range(40, 60)
    ]
    assert sorted(values)[10] > 0.6


def test_what_is_chosen_stays_and_decides_what_is_drawn():
    sampler = sampler_of("tpe", SPACE, objectives=1)
    found = draw_parameters(sampler, SPACE, number=50, stage=4, told=rows(30), chosen={"loss.name": "hinge"})
    assert found["loss.name"] == "hinge"
    assert "loss.r1_gamma" in found


def test_cmaes_needs_a_number_and_takes_the_results_of_another_sweep():
    with pytest.raises(SpecError, match="moves numbers with a distribution"):
        evolved(space(LOSS, GAMMA, LATE))
    assert [one.name for one in evolved(SPACE)] == [RATE.name, D_RATE.name, LAYERS.name]
    warm = [
        Told(number=-1 - one.number, parameters=one.parameters, state=one.state, places=one.places) for one in rows(40)
    ]
    found = [suggestion("cmaes", warm, number)["generator.learning_rate"] for number in range(10)]
    assert sorted(found)[5] > 1e-3, "higher was better there"


def test_seeds_differ_by_every_part():
    parts = [(0, 1, 4, 0), (1, 1, 4, 0), (0, 2, 4, 0), (0, 1, 8, 0), (0, 1, 4, 1)]
    assert len({seed_of(*part) for part in parts}) == len(parts)


# Samplers of other packages

PLUGIN = '''
def halves(space, told, number, seed):
    """The middle of every range, then of its halves."""
    found = {}
    for parameter in space.parameters:
        if parameter.is_active(found):
            value = parameter.values[number % len(parameter.values)] if parameter.values else parameter.low
            found[parameter.name] = value
    return found


def outside(space, told, number, seed):
    return {parameter.name: 10.0 for parameter in space.parameters}


def broken(space, told, number, seed):
    raise RuntimeError("no more ideas")


not_callable = 3
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> None:
    """A package as an installer leaves it: a module, and its metadata beside it."""
    (tmp_path / "halving_sampler.py").write_text(PLUGIN)
    metadata = tmp_path / "halving_sampler-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: halving-sampler\nVersion: 1.0\n")
    entries = ("halves", "outside", "broken", "not_callable", "missing")
    lines = [f"{name.replace('_', '-')} = halving_sampler:{name}" for name in entries]
    (metadata / "entry_points.txt").write_text(textwrap.dedent("[t2f.samplers]\n") + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "halving_sampler", raising=False)


@pytest.mark.usefixtures("plugin")
def test_an_installed_package_brings_a_method():
    assert checked_method("halves") == "halves"
    assert "halves" in method_names()
    found = draw_parameters(
        sampler_of("halves", SPACE, objectives=1), SPACE, number=1, stage=4, told=rows(5), chosen={}
    )
    assert found == {
        "generator.learning_rate": 1e-5,
        "discriminator.learning_rate": 1e-5,
        "loss.name": "logistic-r1",
        "loss.r1_gamma": 0.01,
        "text.layers": 1,
    }


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("outside", "the sampler gave 10.0 for generator.learning_rate; it must be a number from 1e-05 to 0.1"),
        ("broken", "method = 'broken' raised RuntimeError: no more ideas"),
    ],
)
def test_what_a_package_gives_is_checked(method, message):
    with pytest.raises(SamplerError) as caught:
        suggestion(method, [], 0)
    assert message in str(caught.value)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("not-callable", "is no function ask(space, told, number, seed)"),
        ("missing", "cannot be loaded: AttributeError"),
        ("halvs", "did you mean 'halves'?"),
        (["tpe"], "method = ['tpe'] is not allowed; it must be one of grid, random"),
    ],
)
def test_a_method_that_cannot_be_used_is_refused_with_the_file(method, message):
    with pytest.raises(SamplerError) as caught:
        checked_method(method)
    assert message in str(caught.value)


def test_a_method_whose_package_is_gone_says_so():
    with pytest.raises(SamplerError, match="came with a package that is no longer installed"):
        sampler_of("halves", SPACE, objectives=1)
    assert set(LEARNING) == {"tpe", "gp", "cmaes"}
