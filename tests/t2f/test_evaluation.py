"""The score and its parts."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2f import evaluation
from t2f.errors import SpecError
from t2f.evaluation import Figure, Reference, evaluate, measure_reference, reference_for, reference_pairs
from t2f.judge import load_judge
from t2f.networks import FaceModel
from t2f.probe import NO_CAPTIONS, NO_JUDGE, EvaluationSpec
from t2f.reading import data_reader
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


def reference(**changes) -> Reference:
    values = {
        "resolution": 16,
        "num_images": 24,
        "floor": {"swd": 10.0, "colour_distance": 0.1},
        "ceiling": {"swd": 1000.0, "colour_distance": 0.9},
        "shuffle_gap": Figure(value=0.8, low=0.7, high=0.9),
    }
    return Reference(**{**values, **changes})


def test_fidelity_is_a_place_between_ceiling_and_floor_on_a_log_scale():
    at = evaluation.fidelity
    assert at({"swd": 10.0}, reference()) == pytest.approx(1)
    assert at({"swd": 1000.0}, reference()) == pytest.approx(0)
    assert at({"swd": 100.0}, reference()) == pytest.approx(0.5)
    assert at({"swd": 5.0}, reference()) == 1
    assert at({"swd": 5000.0}, reference()) == 0
    both = (0.5 + math.log(0.9 / 0.3) / math.log(0.9 / 0.1)) / 2
    assert at({"swd": 100.0, "colour_distance": 0.3}, reference()) == pytest.approx(both)


def test_text_is_the_share_of_the_reals_gap_or_not_measurable():
    gaps = np.full(50, 0.4)
    assert evaluation.text_figures(gaps, reference())["text"].value == pytest.approx(0.5)
    assert evaluation.text_figures(gaps * 3, reference())["text"].value == 1
    assert evaluation.text_figures(-gaps, reference())["text"].value == 0
    unknown = reference(shuffle_gap=Figure(value=0.01, low=-0.01, high=0.03))
    assert "text" not in evaluation.text_figures(gaps, unknown)


def test_score_is_the_geometric_mean_or_fidelity_alone():
    parts = {"fidelity": Figure(value=0.49, low=0.4, high=0.6), "text": Figure(value=0.25, low=0.2, high=0.3)}
    score = evaluation.score_figure(parts)
    assert score.value == pytest.approx(0.35)
    assert 0 < score.low < 0.35 < score.high < 1
    assert evaluation.score_figure({"fidelity": parts["fidelity"]}) == parts["fidelity"]
    nothing = evaluation.score_figure({**parts, "text": Figure(value=0.0, low=0.0, high=0.1)})
    assert (nothing.value, nothing.low) == (0, 0)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        figure = evaluation.bootstrap_mean(random.normal(0.3, 1.0, 60))
        covered += figure.low <= 0.3 <= figure.high
    assert 88 <= covered <= 100


def test_reference_pairs_are_fixed_and_wrong_captions_wrong(tiny_data):
    split = tiny_data.split("train")
    one, two = reference_pairs(split, 100), reference_pairs(split, 100)
    assert np.array_equal(one.caption_N, two.caption_N)
    assert np.array_equal(split.caption_image_M[one.caption_N], one.image_N)
    assert (split.caption_image_M[one.wrong_N] != one.image_N).all()
    assert set(one.image_N) == set(range(split.size)), "a larger number goes through every image"


def test_evaluation_is_repeatable_and_complete(tiny_data, judge):
    stage = tiny_stages(tiny_data)[2]
    model = FaceModel(stage, len(tiny_data.vocabulary)).eval()
    found_spec = spec(tiny_data, judge[1])
    ref = measure_reference(tiny_data, judge[0], resolution=16, num_images=24, split="validation")
    state = torch.random.get_rng_state()
    given = {"judge": judge[0], "reader": data_reader(stage, tiny_data), "reference": ref, "spec": found_spec}
    one, two = (evaluate(model, resolution=16, data=tiny_data, **given) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.metrics == two.metrics
    assert np.array_equal(one.wall, two.wall)
    assert one.wall.shape == (6, 3, 16, 16)
    expected = {"swd", "colour_distance", "fidelity", "shuffle_gap", "score", "attribute_share"}
    assert expected <= set(one.metrics)
    assert {f"attribute_{name}" for name in tiny_data.attribute_values} <= set(one.metrics)
    for name in ("score", "fidelity", "attribute_share"):
        figure = one.metrics[name]
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


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
    assert ref.shuffle_gap is None
    assert reference_for(bare, None, NO_JUDGE, resolution=16, spec=found_spec) == ref
    given = {"judge": None, "reader": data_reader(stage, bare), "reference": ref, "spec": found_spec}
    one, two = (evaluate(model, resolution=16, data=bare, **given) for _ in range(2))
    assert set(one.metrics) == {"swd", "colour_distance", "fidelity", "score"}
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
        measured = [
            measure_reference(data, judge[0], resolution=8, num_images=24, split=split)
            for data in (tiny_data, mixed_data)
        ]
        # The ceiling is an untrained generator's, whose noise and captions are the same too.
        assert measured[0] == measured[1]
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


def test_reals_score_near_one_and_an_untrained_generator_near_zero(tiny_data, judge):
    ref = measure_reference(tiny_data, judge[0], resolution=16, num_images=48, split="validation")
    split = tiny_data.split("validation")
    pairs = reference_pairs(split, 48)
    reals = torch.from_numpy(split.images(16)[pairs.image_N])
    noise = torch.randint(0, 256, reals.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert evaluation.fidelity(evaluation.distances(reals, reals), ref) == 1
    # Seven held-out pictures make a rough floor; noise is still far from it.
    assert evaluation.fidelity(evaluation.distances(reals, noise), ref) < 0.6


def test_a_reference_is_measured_once_and_remembered(tiny_data, judge, monkeypatch):
    found_spec = spec(tiny_data, judge[1])
    first = reference_for(tiny_data, *judge, resolution=4, spec=found_spec)
    monkeypatch.setattr(evaluation, "measure_reference", None)
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
