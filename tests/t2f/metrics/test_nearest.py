"""Copies of training images, and faces that repeat each other."""

import torch

from t2f.metrics.nearest import copies, nearest_other, nearest_training, small_pictures
from tests.t2f.metrics.pictures import images, noise_images


def test_the_nearest_training_image_is_found_mirrored_or_not(monkeypatch):
    monkeypatch.setattr("t2f.metrics.nearest.CHUNK", 5)
    training, others = images(17, 16, 0), images(4, 16, 1)
    found = nearest_training(small_pictures(others), training.numpy())
    for row in range(4):
        slow = min(
            float((others[row].float() - one.float()).norm()) / 255
            for image in training
            for one in (image, image.flip(2))
        )
        assert abs(float(found[row]) - slow) < 1e-3
    assert float(nearest_training(small_pictures(training.flip(3)), training.numpy()).max()) < 2e-2


def test_large_pictures_are_compared_at_16_px():
    large = images(3, 64, 0)
    assert small_pictures(large).shape == (3, 3 * 16 * 16)
    mean = large[0, 1, 4:8, 0:4].float().mean() / 255
    assert torch.isclose(small_pictures(large)[0].reshape(3, 16, 16)[1, 1, 0], mean)


def test_copies_are_nearer_than_held_out_reals_are():
    reals = torch.linspace(1, 2, 100)
    assert copies(torch.tensor([0.0, 0.3, 0.6, 1.5]), reals).tolist() == [True, True, False, False]
    with_near_duplicates = torch.cat([torch.zeros(5), reals])
    assert not copies(torch.tensor([0.1, 0.3]), with_near_duplicates).any()


def test_repeated_faces_have_a_near_neighbour():
    faces = small_pictures(noise_images(20, 8))
    assert nearest_other(faces[:1].repeat(10, 1)) < 1e-3
    assert nearest_other(faces) > 1
