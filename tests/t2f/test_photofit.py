"""Photofit: pure, repeatable, undone, and nearer with every generation."""

import json

import numpy as np
import pytest
import torch

from t2f import photofit
from t2f.errors import DataError, SpecError
from t2f.generate import open_bundle
from t2f.photofit import Session, load, spread, start
from tests.t2f.helpers import write_bundle


def begun(faces: int = 8, seed: int = 0, latent_size: int = 12) -> Session:
    return start(model_sha256="a" * 64, latent_size=latent_size, words="long pink hair", faces=faces, seed=seed)


def test_the_same_session_has_the_same_faces(tmp_path):
    session = begun().next(keep=[1, 4]).next(keep=[2], words="long pink hair, glasses").next(keep=[])
    assert np.array_equal(session.noise(), session.noise())
    again = Session.from_json(json.loads(json.dumps(session.to_json())))
    assert again == session
    assert np.array_equal(again.noise(), session.noise())
    path = tmp_path / "session.json"
    path.write_text(json.dumps({"model": "m", **session.to_json()}))
    found, stored = load(path)
    assert (found, stored["model"]) == (session, "m")
    assert not np.array_equal(begun(seed=1).noise(), begun().noise())


def test_kept_faces_stay_and_come_first():
    first = begun()
    second = first.next(keep=[5, 2])
    assert np.array_equal(second.noise()[:2], first.noise()[[4, 1]])
    assert second.generation == 1
    assert np.array_equal(second.next(keep=[2, 1]).noise()[:2], first.noise()[[1, 4]])


def test_undo_forgets_the_last_step_alone():
    first = begun()
    second = first.next(keep=[1], words="short hair")
    assert second.undo() == first
    assert second.next(keep=[3]).undo() == second
    with pytest.raises(SpecError, match="nothing to undo"):
        first.undo()


def test_new_words_leave_the_noise():
    second = begun().next(keep=[1, 2])
    other = begun().next(keep=[1, 2], words="grey beard")
    assert other.words == "grey beard"
    assert np.array_equal(second.noise(), other.noise())


def test_children_are_as_their_parents_turned_by_the_spread():
    """With one parent the cosine between child and parent is that of the spread, and lengths stay."""
    first = begun(faces=64, latent_size=4000)
    parent, *children = first.next(keep=[9]).noise()
    cosines = [child @ parent / np.linalg.norm(child) / np.linalg.norm(parent) for child in children]
    assert np.allclose(cosines, np.cos(spread(1)), atol=0.06)
    assert np.allclose([child.std() for child in children], 1, atol=0.05)
    assert spread(1) > spread(2) > spread(3) >= spread(100) == photofit.LAST_SPREAD


def test_two_parents_are_mixed_coordinate_by_coordinate():
    first = begun(faces=4, latent_size=10_000)
    one, other, *children = first.next(keep=[1, 2]).noise()
    fits = [[np.corrcoef(child, parent)[0, 1] for parent in (one, other)] for child in children]
    assert all(0.2 < sum(fit) / 2 < 0.7 for fit in fits)


def test_keeping_nothing_draws_anew():
    first = begun()
    second = first.next(keep=[])
    assert not np.isin(second.noise(), first.noise()).any()
    assert np.array_equal(second.next(keep=[1]).noise()[0], second.noise()[0])


@pytest.mark.parametrize(
    ("keep", "words", "said"),
    [
        ([0], None, "numbers 1 to 8"),
        ([9], None, "numbers 1 to 8"),
        ([1, 1], None, "each face once"),
        (range(1, 9), None, "not all of them"),
        ([True], None, "numbers 1 to 8"),
        ([1], "...", "no words"),
        ([1], "a\0", r"U\+0000"),
    ],
)
def test_steps_that_cannot_be_are_refused(keep, words, said):
    with pytest.raises(SpecError, match=said):
        begun().next(keep=list(keep), words=words)


@pytest.mark.parametrize(("faces", "seed"), [(1, 0), (65, 0), (True, 0), (8, -1), (8, 2**32), ("8", 0)])
def test_sessions_that_cannot_be_are_refused(faces, seed):
    with pytest.raises(SpecError, match="is not allowed"):
        begun(faces=faces, seed=seed)


@pytest.mark.parametrize(
    "change",
    [
        {"session_version": 2},
        {"steps": []},
        {"steps": [{"keep": [1], "words": "x"}]},
        {"steps": [{"words": "x"}]},
        {"steps": [{"keep": 5, "words": "x"}]},
        {"steps": [{"keep": [], "words": 5}]},
        {"steps": [{"keep": [], "words": "x"}] * 501},
        {"latent_size": 10**9},
        {"faces": None},
    ],
    ids=lambda change: str(change)[:40],
)
def test_files_that_are_no_sessions_are_refused(tmp_path, change):
    path = tmp_path / "session.json"
    path.write_text(json.dumps({**begun().to_json(), **change}))
    with pytest.raises(SpecError, match=r"session\.json cannot be used"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_files_of_other_things_are_refused(tmp_path, content):
    path = tmp_path / "session.json"
    path.write_bytes(content)
    with pytest.raises((SpecError, DataError), match=r"session\.json"):
        load(path)


def test_a_witness_gets_nearer_than_by_looking_at_as_many_random_faces(tiny_data, tmp_path):
    """A simulated witness keeps the two faces nearest to a hidden one, in pixels; the benchmark does so with a trained
    model. Of 20 witnesses nearly all must end nearer, which chance alone gives one in ten thousand times."""
    write_bundle(tmp_path / "m", tiny_data)
    bundle = open_bundle(tmp_path / "m")
    text_E = bundle.embed(["long pink hair"])[0]

    def distances(noise_NZ: np.ndarray, target: np.ndarray) -> np.ndarray:
        faces = bundle.draw_latents(bundle.latents(text_E, torch.from_numpy(noise_NZ)))
        return np.sqrt(((faces.astype(float) - target) ** 2).mean(axis=(1, 2, 3)))

    wins = 0
    for number in range(20):
        target = bundle.draw(["dark skin and round glasses"], seeds=[number])[0].astype(float)
        session, found = begun(seed=number), []
        for _ in range(8):
            distance_N = distances(session.noise(), target)
            found.append(distance_N.min())
            session = session.next(keep=[int(place) + 1 for place in distance_N.argsort()[:2]])
        assert found == sorted(found, reverse=True), "kept faces stay, so no generation is worse"
        random = np.random.default_rng([7, number]).standard_normal((64, 12), dtype=np.float32)
        wins += found[-1] < distances(random, target).min()
    assert wins >= 18
