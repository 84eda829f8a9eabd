"""Forecasts: learned from attempts that came to an end, by device and settings, unknown where nothing was measured."""

import pytest

from scheduler import submitting
from scheduler.amounts import bytes_text
from scheduler.forecast import Measured, Speed, Speeds, forecast, measured, speeds
from scheduler.sweep_cli import forecast_line
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.conftest import DEMO_LIKE

TWO_STAGES = DEMO_LIKE.replace("[4, 8, 16], images: [40, 40, 40]", "[4, 8], images: [40, 40]")
TWO_STAGES = TWO_STAGES.replace("min_stage: 8", "min_stage: 4")


def attempt(resolution: int = 4, **values) -> Measured:
    defaults = {"device": "cpu", "settings": ("a",), "images": 100, "seconds": 1.0, "num_bytes": 10}
    return Measured(resolution=resolution, **{**defaults, **values})


def test_the_same_settings_count_alone_once_there_are_enough():
    others = [attempt(settings=("b",), seconds=9.0)] * 5
    few = speeds([*others, attempt(), attempt()], {4: ("a",)}).by_resolution[4]
    assert (few.attempts, few.same_settings) == (7, False)
    assert few.seconds_per_image == pytest.approx((5 * 9 + 2) / 700)
    enough = speeds([*others, attempt(), attempt(), attempt()], {4: ("a",)}).by_resolution[4]
    assert (enough.attempts, enough.same_settings, enough.seconds_per_image) == (3, True, 0.01)


def test_work_at_unknown_resolutions_is_guessed_from_the_nearest_for_order_alone():
    known = Speeds(
        by_resolution={8: Speed(seconds_per_image=0.1, bytes_per_checkpoint=1, attempts=1, same_settings=False)}
    )
    assert known.seconds([(8, 10)]) == pytest.approx(1.0)
    assert known.seconds([(4, 10), (16, 10)]) == pytest.approx(0.5 + 2.0)
    assert Speeds().seconds([(4, 1000), (8, 1000)]) == pytest.approx(1.0 + 2.0)


def test_what_a_home_has_trained_foretells_the_next_sweep(store, submit, resolved, worker, clock):
    submit()
    for _ in range(2):
        job = claim(store, worker, lease=1e6)
        start(store, job)
        clock.now += 4.0
        finish(store, job)
    assert [(one.resolution, one.images, one.seconds, one.num_bytes) for one in measured(store.database)] == [
        (4, 40, 4.0, 1)
    ] * 2
    sweep = resolved(DEMO_LIKE)
    tree = submitting.stage_tree(sweep, submitting.new_trials(sweep))
    ahead = forecast(store.database, sweep.space.plan, submitting.typical_stages(sweep), tree.stage_runs)
    first, second, _ = ahead.stages
    assert (first.stage_runs, first.seconds_per_1000_images, first.attempts) == (2, 100.0, 2)
    assert (first.device_seconds, first.checkpoint_bytes) == (8.0, 2.0)
    assert (second.stage_runs, second.seconds_per_1000_images, second.device_seconds) == (6, None, None)
    assert (ahead.device_seconds, ahead.wall_seconds, ahead.workers) == (None, None, 1)
    assert forecast_line(ahead) == "forecast on test: 0.00222 device hours and what 8, 16 px take, which is unknown"


def test_wall_time_is_no_shorter_than_one_path(store, submit, resolved, clock):
    submit(TWO_STAGES)
    workers = [store.register_worker(name=f"w{n}", node="n", pid=n, device="test", share=1.0) for n in range(8)]
    job = claim(store, workers[0], lease=1e6)
    start(store, job)
    clock.now += 4.0
    finish(store, job)
    sweep = resolved(
        DEMO_LIKE.replace("[4, 8, 16], images: [40, 40, 40]", "[4], images: [400]")
        .split("early")[0]
        .replace(", from_stage: 8", "")
    )
    ahead = forecast(store.database, sweep.space.plan, submitting.typical_stages(sweep), {4: 2})
    assert (ahead.device_seconds, ahead.wall_seconds) == (80.0, 40.0), "two stage runs of 40 s on eight workers"
    assert forecast_line(ahead).startswith("forecast on test: 0.0222 device hours, 0.0111 hours on 8 workers, 2 B of")


def test_workers_without_the_labels_do_not_count(store, submit, resolved, clock):
    submit(TWO_STAGES)
    fast, slow = (
        store.register_worker(name=device, node="n", pid=1, device=device, share=1.0, labels={"pool": device})
        for device in ("fast", "slow")
    )
    for worker, device, seconds in ((fast, "fast", 1.0), (slow, "slow", 4.0)):
        job = claim(store, worker, lease=1e6)
        store.start(job.stage_run_id, job.attempt, numerics_class=f"{device} | x", start_images=0)
        clock.now += seconds
        finish(store, job)
    sweep = resolved(DEMO_LIKE)
    stages = submitting.typical_stages(sweep)
    for pool, seconds in (("fast", 25.0), ("slow", 100.0)):
        ahead = forecast(store.database, sweep.space.plan, stages, {4: 2}, labels={"pool": pool})
        assert (ahead.device, ahead.workers) == (pool, 1)
        assert ahead.stages[0].seconds_per_1000_images == seconds
    nobody = forecast(store.database, sweep.space.plan, stages, {4: 2, 8: 0, 16: 0}, labels={"pool": "tpu"})
    assert (nobody.workers, nobody.wall_seconds) == (0, None)


def test_nothing_is_known_of_a_home_that_is_not_there(resolved):
    sweep = resolved(DEMO_LIKE)
    ahead = forecast(None, sweep.space.plan, submitting.typical_stages(sweep), {4: 2, 8: 6, 16: 6})
    assert (ahead.device, ahead.workers, ahead.device_seconds) == (None, 0, None)
    assert forecast_line(ahead) == "forecast: unknown, as nothing like it was trained in this home yet"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1.5e6, "1.5 MB"), (2e12, "2 TB")])
def test_bytes_are_said_in_three_figures(count, text):
    assert bytes_text(count) == text
