import pytest

from dashboard.wording import (
    count,
    duration,
    first_line,
    measure_name,
    setting,
    setting_at_a_glance,
    short_names,
    size,
    sweep_url,
    trial_names,
    when,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (41.4, "41 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (360_000, "4 d 4 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers() -> None:
    assert count(12800) == "12\u202f800"
    assert [size(512), size(3 << 20), size(3 << 30)] == ["512 B", "3 MiB", "3.0 GiB"]
    assert [setting_at_a_glance(value) for value in (0.00164047, 1e-5, 3, True, "off")] == [
        "0.00164",
        "1e-05",
        "3",
        "true",
        "off",
    ]
    assert [setting(True), setting(1e-4), setting(3), setting("wgan-gp")] == ["true", "0.0001", "3", "wgan-gp"]


def test_times_are_readable_and_exact() -> None:
    assert when(0) == '<time datetime="1970-01-01T00:00:00+00:00">1970-01-01 00:00 UTC</time>'


def test_trial_names() -> None:
    assert [trial_names([]), trial_names([1]), trial_names([1, 2]), trial_names([1, 2, 5])] == [
        "none",
        "T1",
        "T1 and T2",
        "T1, T2 and T5",
    ]
    assert trial_names(range(20)).endswith(" and 12 more")


def test_parameters_are_shortened_only_where_that_stays_clear() -> None:
    names = short_names(["loss.name", "loss.r1_gamma", "generator.learning_rate", "discriminator.learning_rate"])
    assert names["loss.r1_gamma"] == "r1_gamma"
    assert names["loss.name"] == "loss.name"
    assert names["generator.learning_rate"] == "generator.learning_rate"


def test_other_words() -> None:
    assert measure_name("attribute_hair_colour") == "attribute: hair colour"
    assert measure_name("colour_distance") == "colour distance"
    assert first_line("Traceback (most recent call last):\n  x\nValueError: bad") == "ValueError: bad"
    assert sweep_url("a/b <script>?#") == "/sweeps/a%2Fb%20%3Cscript%3E%3F%23"
