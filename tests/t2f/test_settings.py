"""Settings: typed, bounded, and helpful when wrong."""

import pytest

from t2f.errors import SpecError
from t2f.settings import PRESETS, SETTINGS, Settings, checked_value, describe_allowed, has_effect


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_legal(preset):
    settings = Settings().with_values(PRESETS[preset])
    for name, value in PRESETS[preset].items():
        assert settings.flat()[name] == value


def test_flat_names_every_setting_and_goes_back():
    settings = Settings().with_values(PRESETS["small"])
    assert list(settings.flat()) == list(SETTINGS)
    assert Settings().with_values(settings.flat()) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text.layers", 0),
        ("text.layers", 2.5),
        ("text.layers", True),
        ("text.layers", "2"),
        ("generator.learning_rate", float("nan")),
        ("generator.learning_rate", float("inf")),
        ("generator.learning_rate", -1),
        ("generator.learning_rate", None),
        ("loss.name", "wgan"),
        ("loss.name", ["wgan-gp"]),
        ("loss.name", 3),
    ],
)
def test_wrong_values_are_refused_with_rule_and_value(name, value):
    with pytest.raises(SpecError) as caught:
        checked_value(name, value)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert describe_allowed(name) in str(caught.value)


def test_a_misspelt_choice_and_name_get_a_hint():
    with pytest.raises(SpecError, match="did you mean 'wgan-gp'"):
        checked_value("loss.name", "wgan_gp")
    with pytest.raises(SpecError, match="did you mean 'loss.kl_weight'"):
        checked_value("loss.kl_weigth", 1)


def test_values_get_the_settings_type():
    assert checked_value("text.layers", 2.0) == 2
    assert isinstance(checked_value("text.layers", 2.0), int)
    assert isinstance(checked_value("generator.learning_rate", 1), float)


def test_conditioning_must_leave_room_for_noise():
    with pytest.raises(SpecError, match="leaves no room for noise"):
        Settings().with_values({"network.latent": 64, "network.conditioning": 64})


def test_settings_without_effect_are_known():
    values = Settings().flat()
    assert has_effect("loss.drift", values)
    assert not has_effect("loss.r1_gamma", values)
    assert has_effect("loss.r1_gamma", {**values, "loss.name": "logistic-r1"})


def test_features_follow_the_papers_table():
    settings = Settings().with_values({"network.feature_base": 1024, "network.feature_max": 64})
    assert [settings.features(resolution) for resolution in (4, 8, 16, 32, 64, 1024)] == [64, 64, 64, 32, 16, 1]
