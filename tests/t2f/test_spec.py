"""Stage keys: different exactly where the bits could be."""

import dataclasses

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from t2f.errors import SpecError
from t2f.settings import SETTINGS, Settings, has_effect, scope_of
from t2f.spec import StagePlan, StageSpec, TrainingSpec, digest, stage_keys
from tests.t2f.helpers import TINY

PLAN = StagePlan(resolutions=(4, 8, 16), images=(100, 200, 300), fade=(0.0, 0.5, 0.5), batch=(8, 8, 4))
BASE = TrainingSpec(data_key="d", seed=1, plan=PLAN, settings=Settings().with_values(TINY))


def other_value(name: str, value):
    """A legal value of a setting that differs from this one."""
    meta = SETTINGS[name].metadata
    if name == "compute.micro_batch":
        return 4  # must divide the batch and hold whole groups
    if meta["choices"]:
        return next(choice for choice in meta["choices"] if choice != value)
    return value + 1 if value + 1 <= meta["high"] else (value + meta["high"]) / 2


def keys(**changes) -> tuple[str, ...]:
    return stage_keys(dataclasses.replace(BASE, **changes).stages())


@pytest.mark.parametrize("name", [name for name in SETTINGS if not name.startswith("network.feature")])
def test_a_setting_changes_all_keys_or_none(name):
    values = BASE.settings.flat()
    changed = BASE.settings.with_values({name: other_value(name, values[name])})
    equal = [a == b for a, b in zip(keys(), keys(settings=changed), strict=True)]
    assert equal == ([False] * 3 if has_effect(name, values) else [True] * 3)


def test_a_late_setting_changes_later_keys_only():
    late = keys(late={16: {"generator.learning_rate": 0.5}})
    assert late[:2] == keys()[:2]
    assert late[2] != keys()[2]


def test_later_stages_do_not_enter_earlier_keys():
    longer = dataclasses.replace(PLAN, images=(100, 200, 999))
    assert keys(plan=longer)[:2] == keys()[:2]
    assert keys(plan=longer)[2] != keys()[2]
    shorter = StagePlan(resolutions=(4, 8), images=(100, 200), fade=(0.0, 0.5), batch=(8, 8))
    assert keys(plan=shorter) == keys()[:2]


def test_widths_of_later_resolutions_do_not_split_the_tree():
    # 64 / R, at most 8: halving the base changes nothing at 4 px (16 -> 8 maps, both above the limit).
    narrower = BASE.settings.with_values({"network.feature_base": 32})
    assert dataclasses.replace(BASE, settings=narrower).stages()[0].features == (8,)
    assert keys(settings=narrower)[0] == keys()[0]
    assert keys(settings=narrower)[1] != keys()[1]


def test_fade_means_nothing_at_the_first_stage():
    faded = dataclasses.replace(PLAN, fade=(0.9, 0.5, 0.5))
    assert keys(plan=faded) == keys()


@pytest.mark.parametrize("changes", [{"seed": 2}, {"data_key": "e"}], ids=str)
def test_seed_and_data_change_everything(changes):
    assert not set(keys(**changes)) & set(keys())


def test_an_early_difference_reaches_every_descendant():
    early = dataclasses.replace(PLAN, images=(101, 200, 300))
    assert not set(keys(plan=early)) & set(keys())


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_json_keeps_a_stage_and_its_key(data):
    name = data.draw(st.sampled_from(sorted(SETTINGS)))
    value = other_value(name, BASE.settings.flat()[name])
    try:
        changed = BASE.settings.with_values({name: value})
    except SpecError:
        return  # conditioning must stay below latent
    for stage in dataclasses.replace(BASE, settings=changed).stages():
        again = StageSpec.from_json(stage.to_json())
        assert again == stage
        assert again.key("p") == stage.key("p")


def test_digest_does_not_depend_on_order_and_tells_types_apart():
    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.0})
    assert digest({"a": 0.1 + 0.2}) != digest({"a": 0.3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolutions": (4, 16, 32)}, "start at 4 px and double"),
        ({"resolutions": (96,)}, "start at 4 px and double"),
        ({"images": (1, 2)}, "2 values for 3 resolutions"),
        ({"images": (0, 2, 3)}, "stages.images = 0"),
        ({"batch": (1, 8, 8)}, "stages.batch = 1"),
        ({"batch": (True, 8, 8)}, "stages.batch = True"),
        ({"batch": (2.5, 8, 8)}, "stages.batch = 2.5"),
        ({"fade": (0, 1.5, 0)}, "stages.fade = 1.5"),
    ],
)
def test_impossible_plans_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(PLAN, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
        ({"late": {32: {"generator.learning_rate": 0.1}}}, "32 is no stage"),
        ({"late": {16: {"network.latent": 64}}}, "decides the shape of the weights"),
        ({"late": {16: {"generator.learnin_rate": 0.1}}}, "did you mean 'generator.learning_rate'"),
    ],
)
def test_impossible_trainings_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(BASE, **changes)


def test_a_bundle_to_start_from_changes_every_key():
    assert not set(keys(init_sha256="a" * 64)) & set(keys())
    assert not set(keys(init_sha256="a" * 64)) & set(keys(init_sha256="b" * 64))
    (first, *_) = dataclasses.replace(BASE, init_sha256="a" * 64).stages()
    assert StageSpec.from_json(first.to_json()) == first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"compute.micro_batch": 6}, "a multiple of it"),
        ({"compute.micro_batch": 12}, "does not divide the batch of 8 at 4 px"),
    ],
)
def test_a_micro_batch_must_fit_batch_and_group(values, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(BASE, settings=BASE.settings.with_values(values)).stages()


def test_every_setting_says_what_it_is():
    for name, field in SETTINGS.items():
        assert field.metadata["text"], name
        assert scope_of(name) in ("architecture", "training")
        assert field.metadata["choices"] or field.metadata["low"] is not None, name


# A micro-batch must fit batch and group, which any drawn value would not; other tests change it.
TRAINING_SETTINGS = sorted(name for name in SETTINGS if scope_of(name) == "training" and name != "compute.micro_batch")


def value_of(name: str) -> st.SearchStrategy:
    """Any legal value of a setting."""
    meta = SETTINGS[name].metadata
    if meta["choices"]:
        return st.sampled_from(meta["choices"])
    kind = st.integers if isinstance(Settings().flat()[name], int) else st.floats
    return kind(min_value=type(Settings().flat()[name])(meta["low"]), max_value=meta["high"])


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_one_field_changed_changes_the_keys_from_its_stage_on_and_none_before(data):
    """Over any recipe: equal keys before the change, other keys from it on, and none changed where nothing trains."""
    names = data.draw(st.lists(st.sampled_from(TRAINING_SETTINGS), unique=True, max_size=4))
    values = {name: data.draw(value_of(name)) for name in names}
    base = dataclasses.replace(BASE, settings=BASE.settings.with_values(values))
    stage = data.draw(st.integers(0, 2))
    field = data.draw(st.sampled_from(["seed", "data_key", "images", "batch", "fade", "setting"]))
    first: int | None = stage
    if field in ("seed", "data_key"):
        first = 0
        changed = dataclasses.replace(base, **{field: {"seed": 2, "data_key": "e"}[field]})
    elif field == "setting":
        name = data.draw(st.sampled_from(TRAINING_SETTINGS))
        before = base.settings.flat()
        after = data.draw(value_of(name))
        try:
            changed = dataclasses.replace(base, late={PLAN.resolutions[stage]: {name: after}})
        except SpecError:
            reject()  # ADA under wgan-gp
        if after == before[name] or not has_effect(name, before):
            first = None
    else:
        entries = list(getattr(PLAN, field))
        entries[stage] = {"images": entries[stage] + 7, "batch": entries[stage] + 1, "fade": 0.9}[field]
        changed = dataclasses.replace(base, plan=dataclasses.replace(PLAN, **{field: tuple(entries)}))
        if field == "fade" and stage == 0:
            first = None
    equal = [a == b for a, b in zip(stage_keys(base.stages()), stage_keys(changed.stages()), strict=True)]
    assert equal == [first is None or index < first for index in range(3)]
