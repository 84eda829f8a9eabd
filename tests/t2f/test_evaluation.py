"""Evaluating a stage: complete, repeatable, and without captions too; its reference and its key."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2f import reference as reference_module
from t2f.errors import SpecError
from t2f.evaluation import evaluate
from t2f.judge import load_judge
from t2f.metrics.builtin import STAGE_END
from t2f.metrics.comparison import measure_all
from t2f.networks import FaceModel
from t2f.pairs import reference_pairs
from t2f.probe import NO_CAPTIONS, NO_JUDGE, EvaluationSpec
from t2f.reading import data_reader
from t2f.reference import Reference, compare, measure_bounds, reference_for
from t2f.score import score_figures
from t2f.trainfile import ProbeSection
from tests.t2f.helpers import tiny_stages


@pytest.fixture(scope="module")
def judge(tiny_data):
    return load_judge(tiny_data)


def spec(data, sha256: str, **changes) -> EvaluationSpec:
    values = {
        "captions": ("a person with long pink hair", "short black hair, dark skin"),
        "seeds": 3,
        "num_images": 24,
        "split": "validation",
        "data_key": data.key,
        "judge_sha256": sha256,
    }
    return EvaluationSpec(**{**values, **changes})


def test_reference_pairs_are_fixed_and_wrong_captions_wrong(tiny_data):
    split = tiny_data.split("train")
    one, two = reference_pairs(split, 100), reference_pairs(split, 100)
    assert np.array_equal(one.caption_N, two.caption_N)
    assert np.array_equal(split.caption_image_M[one.caption_N], one.image_N)
    assert (split.caption_image_M[one.wrong_N] != one.image_N).all()
    assert set(one.image_N) == set(range(split.size)), "a larger number goes through every image"


def measured(data, judge, found_spec, resolution: int) -> Reference:
    """A reference that is not remembered."""
    bounds = measure_bounds(data, judge, resolution=resolution, spec=found_spec, metrics=STAGE_END)
    floor = {name: figure for one in bounds.values() for name, figure in one.floor.items()}
    ceiling = {name: figure for one in bounds.values() for name, figure in one.ceiling.items()}
    return Reference(resolution=resolution, num_images=found_spec.num_images, floor=floor, ceiling=ceiling)


def test_evaluation_is_repeatable_and_complete(tiny_data, judge):
    stage = tiny_stages(tiny_data)[2]
    model = FaceModel(stage, len(tiny_data.vocabulary)).eval()
    found_spec = spec(tiny_data, judge[1])
    ref = measured(tiny_data, judge[0], found_spec, 16)
    state = torch.random.get_rng_state()
    given = {"judge": judge[0], "reader": data_reader(stage, tiny_data), "reference": ref, "spec": found_spec}
    one, two = (evaluate(model, resolution=16, data=tiny_data, **given) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.metrics == two.metrics
    assert np.array_equal(one.wall, two.wall)
    assert one.wall.shape == (6, 3, 16, 16)
    expected = {"swd", "colour_distance", "fidelity", "shuffle_gap", "score", "attribute_share", "nearest_face"}
    expected |= {"copied_share", "closed_gates"}
    assert expected <= set(one.metrics)
    assert {f"attribute_{name}" for name in tiny_data.attribute_values} <= set(one.metrics)
    for name in ("score", "fidelity", "attribute_share"):
        figure = one.metrics[name]
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
    parts = json.loads(one.parts_bytes())
    num_images = tiny_data.split("validation").size
    assert len(parts["shuffle_gap"]["parts"]) == num_images, "24 faces for so few images"
    assert len(parts["score"]["parts"]) == num_images // 2
    assert one.metrics_json()["closed_gates"]["note"] == "text", "it was never trained"


@pytest.fixture
def bare(bare_data, tmp_path):
    """The data without captions in a place of its own, where references may be written."""
    shutil.copytree(bare_data.path, tmp_path / "bare")
    return replace(bare_data, path=tmp_path / "bare")


def test_data_without_captions_is_scored_by_fidelity(bare):
    stage = tiny_stages(bare)[2]
    model = FaceModel(stage, len(bare.vocabulary)).eval()
    found_spec = ProbeSection(seeds=5, images=24).evaluation(bare, NO_JUDGE)
    assert (found_spec.captions, found_spec.split) == (("",), "validation")
    ref = reference_for(bare, None, NO_JUDGE, resolution=16, spec=found_spec)
    assert "shuffle_gap" not in ref.floor
    assert ref.judge is None
    assert reference_for(bare, None, NO_JUDGE, resolution=16, spec=found_spec) == ref
    given = {"judge": None, "reader": data_reader(stage, bare), "reference": ref, "spec": found_spec}
    one, two = (evaluate(model, resolution=16, data=bare, **given) for _ in range(2))
    copying = {"nearest_face", "nearest_training", "copied_share", "closed_gates"}
    assert set(one.metrics) == {"swd", "colour_distance", "fidelity", "score", *copying}
    assert one.metrics["score"] == one.metrics["fidelity"]
    assert one.metrics == two.metrics
    assert one.wall.shape == (5, 3, 16, 16)
    assert len({picture.tobytes() for picture in one.wall}) == 5, "each seed draws its own face"


def test_pairs_of_data_without_captions_are_its_images(bare_data):
    split = bare_data.split("validation")
    pairs = reference_pairs(split, 2 * split.size + 1)
    assert set(pairs.image_N) == set(range(split.size))
    assert (len(pairs.image_N), len(pairs.caption_N), len(pairs.wrong_N)) == (2 * split.size + 1, 0, 0)


def test_images_without_captions_do_not_change_a_reference(tiny_data, mixed_data, judge):
    for split in ("train", "validation"):
        one, two = (reference_pairs(data.split(split), 100) for data in (tiny_data, mixed_data))
        assert np.array_equal(one.image_N, two.image_N)
        assert np.array_equal(one.caption_N, two.caption_N)
        assert np.array_equal(one.wrong_N, two.wrong_N)
        one, two = (measured(data, judge[0], spec(data, judge[1], split=split), 8) for data in (tiny_data, mixed_data))
        # The ceiling is an untrained generator's, whose noise and captions are the same too. Only how near training
        # images are is another matter when there are more of them.
        for name in one.floor.keys() - {"nearest_training", "copied_share"}:
            assert one.floor[name] == two.floor[name], name
            assert one.ceiling[name] == two.ceiling[name], name
    probe = ProbeSection()
    assert probe.evaluation(mixed_data, "x").captions == probe.evaluation(tiny_data, "x").captions


def test_captions_of_a_probe_fit_the_data(tiny_data, bare_data):
    asked = ProbeSection(captions=("a man",))
    assert asked.evaluation(tiny_data, "x").captions == ("a man",)
    with pytest.raises(SpecError, match=r"\['a man'\] is not allowed for data without captions.* leave probe.captions"):
        asked.evaluation(bare_data, NO_JUDGE)
    for captions in (NO_CAPTIONS, ("a man", "  ")):
        with pytest.raises(SpecError, match="a sentence without words; describe a face"):
            spec(tiny_data, "x", captions=captions)


def test_reals_score_near_one_and_noise_near_zero(tiny_data, judge):
    ref = measured(tiny_data, judge[0], spec(tiny_data, judge[1], num_images=48), 16)
    split = tiny_data.split("validation")
    pairs = reference_pairs(split, 48)
    reals = torch.from_numpy(split.images(16)[pairs.image_N])
    noise = torch.randint(0, 256, reals.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def scored(faces):
        found = measure_all(compare(faces, tiny_data, judge[0], split="validation"), STAGE_END)
        return score_figures(found, floor=ref.floor, ceiling=ref.ceiling)

    assert scored(reals)["score"].value == 1
    # Seven held-out pictures make a rough floor; noise is still far from it.
    assert scored(noise)["fidelity"].value < 0.6


def test_a_reference_is_measured_once_and_remembered(tiny_data, judge, monkeypatch):
    found_spec = spec(tiny_data, judge[1])
    first = reference_for(tiny_data, *judge, resolution=4, spec=found_spec)
    monkeypatch.setattr(reference_module, "measure_bounds", None)
    assert reference_for(tiny_data, *judge, resolution=4, spec=found_spec) == first


def test_the_key_names_everything_that_changes_the_figures(tiny_data, judge):
    base = spec(tiny_data, judge[1])
    changes = [
        {"captions": ("other",)},
        {"seeds": 4},
        {"num_images": 25},
        {"split": "test"},
        {"data_key": "x"},
        {"judge_sha256": "x"},
        {"metric_version": 99},
    ]
    keys = {base.key, *(spec(tiny_data, judge[1], **change).key for change in changes)}
    assert len(keys) == len(changes) + 1
    assert EvaluationSpec.from_json(base.to_json()) == base
