"""Ways between faces: both ends are the faces themselves, and steps are even."""

import numpy as np
import pytest
import torch

from t2f.errors import SpecError
from t2f.generate import open_bundle
from t2f.walks import places, spherical, through_captions, through_seeds
from tests.t2f.helpers import write_bundle

SENTENCES = ["long pink hair", "dark skin and round glasses", "short hair"]


@pytest.fixture
def bundle(tiny_data, tmp_path):
    write_bundle(tmp_path / "model.safetensors", tiny_data)
    return open_bundle(tmp_path / "model.safetensors")


def test_the_arc_is_even_and_keeps_the_length():
    start, end = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, 0.0])
    for share in (0.0, 0.25, 0.5, 1.0):
        expected = 3 * torch.tensor([np.cos(share * np.pi / 2), np.sin(share * np.pi / 2), 0.0], dtype=torch.float32)
        assert torch.allclose(spherical(start, end, share), expected, atol=1e-6)
    assert torch.equal(spherical(start, start, 0.3), start)
    assert torch.equal(spherical(start * 0, end, 0.5), end / 2)


def test_places_are_even_over_all_stops():
    assert list(places(3, 5)) == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (1, 1.0)]
    assert list(places(2, 2)) == [(0, 0.0), (0, 1.0)]


def near(faces, others) -> bool:
    return np.abs(faces.astype(int) - others).max() <= 1


def test_through_captions_every_stop_is_its_sentence(bundle):
    frames = list(through_captions(bundle, SENTENCES, [3, 4], truncation=0.7, frames=9))
    assert len(frames) == 9
    for stop, frame in enumerate((0, 4, 8)):
        assert near(frames[frame], bundle.draw([SENTENCES[stop]], seeds=[3, 4], truncation=0.7))
    latents = [bundle.latents(text_E, bundle.noise([3])) for text_E in bundle.embed(SENTENCES[:2])]
    middle = bundle.draw_latents((latents[0] + latents[1]) / 2)
    assert near(list(through_captions(bundle, SENTENCES[:2], [3], truncation=1, frames=3))[1], middle)


def test_through_seeds_every_stop_is_its_seed(bundle):
    frames = list(through_seeds(bundle, SENTENCES[:2], [3, 4, 5], truncation=1.0, frames=5))
    for stop, frame in enumerate((0, 2, 4)):
        assert near(frames[frame], bundle.draw(SENTENCES[:2], seeds=[3 + stop]))
    assert not near(frames[1], frames[0])
    still = list(through_seeds(bundle, SENTENCES[:1], [3, 4], truncation=0.0, frames=3))
    assert np.array_equal(still[0], still[2])


@pytest.mark.parametrize(
    ("walk", "sentences", "seeds", "frames", "said"),
    [
        (through_captions, SENTENCES[:1], [0], 9, "needs two or more sentences"),
        (through_seeds, SENTENCES, [0], 9, "needs two or more seeds"),
        (through_captions, SENTENCES, [0], 2, "--frames 2"),
        (through_captions, SENTENCES, [0], 10**6, "--frames 1000000"),
    ],
)
def test_walks_that_lead_nowhere_are_refused(bundle, walk, sentences, seeds, frames, said):
    with pytest.raises(SpecError, match=said):
        walk(bundle, sentences, seeds, truncation=1.0, frames=frames)


def test_without_words_only_seeds_can_be_walked(tiny_data, tmp_path):
    write_bundle(tmp_path / "bare", tiny_data, {"text.encoder": "none"})
    bundle = open_bundle(tmp_path / "bare")
    with pytest.raises(SpecError, match="trained without words"):
        through_captions(bundle, ["", ""], [0], truncation=1.0, frames=3)
    assert len(list(through_seeds(bundle, [""], [0, 1], truncation=1.0, frames=3))) == 3
