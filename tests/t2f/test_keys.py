"""Keys name bits: pairs of trainings that differ in one field are trained for a few steps and compared."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from t2f.data import PreparedData
from t2f.settings import SETTINGS, Settings, Value, scope_of
from t2f.spec import StagePlan, StageSpec, TrainingSpec, stage_keys
from t2f.trainer import StageTrainer

pytestmark = pytest.mark.slow

PLAN = StagePlan(resolutions=(4, 8), images=(40, 40), fade=(0.5, 0.5), batch=(8, 8))
# Small, and different from every value that a pair changes to.
BASE: dict[str, Value] = {
    "text.word_embedding": 8,
    "text.hidden": 8,
    "text.layers": 1,
    "text.embedding": 8,
    "network.latent": 24,
    "network.conditioning": 8,
    "network.feature_base": 64,
    "network.feature_max": 8,
    "loss.name": "logistic-r1",
    "loss.penalty_interval": 2,
}
# Where these hold, every setting has an effect somewhere.
CONTEXTS: tuple[dict[str, Value], ...] = (
    {},
    {"loss.name": "wgan-gp"},
    {"loss.name": "relativistic"},
    {"augment.method": "diffaugment"},
    {"augment.method": "ada"},
)


# Where the key tells two trainings apart whose bits agree: training is repeated that could be shared, nothing is wrong.
# Setting -> those stages.
KEY_ALONE: dict[str, tuple[int, ...]] = {
    "network.new_blocks": (0,),  # the first stage adds no block to others
    "optimizer.at_stage_start": (0,),
    "augment.target": (0, 1),  # so few images move the strength by nothing that a picture shows
    "data.uncaptioned_share": (0, 1),  # this data has captions throughout
}


def other_value(name: str, now: Value) -> Value:
    """A value that is allowed and not this one."""
    meta, kind = SETTINGS[name].metadata, SETTINGS[name].type
    if meta["choices"]:
        usable = [choice for choice in meta["choices"] if choice not in (now, "sentence")]
        return usable[0]
    if name == "compute.micro_batch":
        return 4 if now != 4 else 8
    if name == "network.feature_base":
        return now // 2  # one more changes no width
    if kind is int:
        return now + 1 if now + 1 <= meta["high"] else now - 1
    larger = now * 1.5 if now else min(0.5, meta["high"])
    return larger if meta["low"] <= larger <= meta["high"] and larger != now else (meta["low"] + now) / 2


def training(data: PreparedData, values: Mapping[str, Value], **spec: Any) -> TrainingSpec:
    fields = {"data_key": data.key, "seed": 0, "plan": PLAN, **spec}
    return TrainingSpec(settings=Settings().with_values({**BASE, **values}), **fields)


def bits(stages: tuple[StageSpec, ...], data: PreparedData) -> list[str]:
    """The hash of the whole training state at each stage's end."""
    found, parent = [], None
    for stage in stages:
        trainer = StageTrainer(stage, data, parent=parent)
        while not trainer.position.is_finished:
            trainer.step()
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
        found.append(trainer.weights_sha256())
    return found


def compare(data: PreparedData, one: TrainingSpec, two: TrainingSpec) -> list[tuple[bool, bool]]:
    """(same key, same bits) of each stage that both have."""
    torch.set_num_threads(1)
    first, second = one.stages(), two.stages()
    keys = zip(stage_keys(first), stage_keys(second), strict=False)
    return [
        (key == other, weights == changed)
        for (key, other), weights, changed in zip(keys, bits(first, data), bits(second, data), strict=False)
    ]


@pytest.mark.parametrize("name", SETTINGS)
def test_one_setting(tiny_data, name):
    effective = 0
    for context in CONTEXTS if SETTINGS[name].metadata["when"] else CONTEXTS[:1]:
        before = {**BASE, **context}
        now = before.get(name, getattr(getattr(Settings(), name.split(".")[0]), name.split(".")[1]))
        if name in context:
            continue
        pair = compare(
            tiny_data, training(tiny_data, context), training(tiny_data, {**context, name: other_value(name, now)})
        )
        for stage, (same_key, same_bits) in enumerate(pair):
            if not same_key and stage in KEY_ALONE.get(name, ()):
                assert same_bits, (context, stage)
            else:
                assert same_key == same_bits, (context, stage)
        effective += not pair[-1][0]
    assert effective, "nowhere did it change anything"


@pytest.mark.parametrize(
    "name", [name for name in SETTINGS if scope_of(name) == "training" and not SETTINGS[name].metadata["when"]]
)
def test_one_setting_of_a_later_stage_leaves_the_earlier_alone(tiny_data, name):
    now = {**BASE}.get(name, getattr(getattr(Settings(), name.split(".")[0]), name.split(".")[1]))
    late = training(tiny_data, {}, late={8: {name: other_value(name, now)}})
    assert compare(tiny_data, training(tiny_data, {}), late) == [(True, True), (False, False)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"seed": 1}, [(False, False), (False, False)]),
        ({"images": (48, 40)}, [(False, False), (False, False)]),
        ({"images": (40, 48)}, [(True, True), (False, False)]),
        ({"batch": (4, 8)}, [(False, False), (False, False)]),
        ({"batch": (8, 4)}, [(True, True), (False, False)]),
        ({"fade": (0.9, 0.5)}, [(True, True), (True, True)]),  # the first stage fades nothing in
        ({"fade": (0.5, 0.9)}, [(True, True), (False, False)]),
        ({"fade": (0.5, 0.501)}, [(True, True), (True, True)]),  # the same number of images
    ],
)
def test_what_is_no_setting(tiny_data, changed, expected):
    seed = {"seed": changed["seed"]} if "seed" in changed else {}
    plan = {name: value for name, value in changed.items() if name != "seed"}
    fields = {"resolutions": (4, 8), "images": (40, 40), "fade": (0.5, 0.5), "batch": (8, 8), **plan}
    two = training(tiny_data, {}, plan=StagePlan(**fields), **seed)
    assert compare(tiny_data, training(tiny_data, {}), two) == expected


def test_a_stage_more_changes_nothing_of_those_before(tiny_data):
    plan = StagePlan(resolutions=(4, 8, 16), images=(40, 40, 8), fade=(0.5,) * 3, batch=(8,) * 3)
    assert compare(tiny_data, training(tiny_data, {}), training(tiny_data, {}, plan=plan)) == [(True, True)] * 2


def test_a_root_of_ones_own_changes_keys_and_no_bits(tiny_data):
    stages = training(tiny_data, {}).stages()
    shared, alone = stage_keys(stages), stage_keys(stages, "unshared s/T1")
    assert not set(shared) & set(alone)
    assert bits(stages, tiny_data) == bits(stages, tiny_data)
