"""`budget`, `resources`, `after` and `share_prefix`: read strictly, and what they do to a running sweep."""

import pytest

from scheduler import budgets, commands, reads, settling, submitting, waiting
from scheduler.limits import duration_text
from scheduler.states import SweepState, TrialState
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import SpecError, UserError
from tests.scheduler.acting import claim, finish, start, work_off
from tests.scheduler.conftest import DEMO_LIKE
from tests.scheduler.test_sweepfile import changed, read

FOUR = """
name: four
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters: {generator.learning_rate: {values: [0.001, 0.002, 0.003, 0.004]}}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("budget/wall", "3", "wall = '3' is not allowed; it must be a number above 0 with a unit: 90s, 45m, 12h or 3d"),
        ("budget/wall", 3, "wall = 3 is not allowed"),
        ("budget/wall", "0m", "wall = '0m' is not allowed"),
        ("budget/wall", "-1h", "wall = '-1h' is not allowed"),
        ("budget/wall", "3 d", "wall = '3 d' is not allowed"),
        ("budget/gpu_hours", 0, "gpu_hours = 0 is not allowed; it must be a number from 1e-06 to 1e.09"),
        ("budget/gpu_hours", "9", "gpu_hours = '9' is not allowed"),
        ("budget/gpuhours", 1, "unknown key 'gpuhours'; did you mean 'gpu_hours'?"),
        ("resources/share", 0, "share = 0 is not allowed; it must be a number from 0.01 to 1000"),
        ("resources/max_workers", 0, "max_workers = 0 is not allowed; it must be a whole number from 1"),
        ("resources/max_workers", 2.5, "max_workers = 2.5 is not allowed"),
        ("resources/label", {"pool": "a100"}, "unknown key 'label'; did you mean 'labels'?"),
        ("after", "../x", "after: name = '../x' is not allowed"),
        ("after", 3, "after: name = 3 is not allowed"),
        ("share_prefix", "maybe", "share_prefix = 'maybe' is not allowed; it must be on or off"),
        ("share_prefix", 1, "share_prefix = 1 is not allowed"),
    ],
)
def test_what_is_not_allowed_is_named(path, value, message):
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        read(changed(path, value))


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("45m", 2700), ("1.5h", 5400), ("3d", 259200)])
def test_durations(written, seconds):
    assert read(changed("budget/wall", written)).budget.wall_seconds == seconds


@pytest.mark.parametrize(("seconds", "text"), [(20, "20s"), (2700, "45m"), (5400, "1.5h"), (259200, "3d")])
def test_durations_are_said_in_the_largest_unit(seconds, text):
    assert duration_text(seconds) == text


def test_rows_of_sweeps_from_before_are_read(tiny_data):
    resolved = read(changed("resources/priority", 7)).resolve(tiny_data, "j" * 64)
    stored = resolved.to_json()
    for name in ("share", "max_workers", "labels", "after", "share_prefix"):
        del stored[name]
    stored["budget"] = {"max_trials": None}
    assert ResolvedSweep.from_json(stored) == resolved


def states(store, name: str) -> list[str]:
    sweep = reads.sweep(store.database, name)
    return [str(trial.state) for trial in reads.trials(store.database, sweep.id)]


def settle(store, name: str) -> bool:
    over = settling.settle(store, reads.sweep(store.database, name))
    if over:
        settling.end_sweep(store, reads.sweep(store.database, name))
    return over


def test_a_sweep_whose_time_is_over_finishes_what_runs_and_stops(store, submit, worker, clock):
    submit(FOUR + "budget: {wall: 1h}\n", name="s")
    first = claim(store, worker)
    start(store, first)
    finish(store, first)
    settle(store, "s")
    work_off(store, worker, at_most=1)  # its evaluation
    job = claim(store, worker, lease=1e6)
    start(store, job)
    clock.now += 3601
    assert not settle(store, "s")
    assert states(store, "s") == ["pruned", "running", "canceled", "canceled"]
    assert claim(store, worker) is None, "nothing new begins"
    finish(store, job)
    assert not settle(store, "s"), "what was trained is measured"
    assert work_off(store, worker) == 1
    assert settle(store, "s")
    sweep = reads.sweep(store.database, "s")
    assert (sweep.state, sweep.error) == (SweepState.STOPPED, "the budget: its wall time of 1h is over")
    assert states(store, "s") == ["pruned", "pruned", "canceled", "canceled"]
    assert len(reads.ranking(store.database, sweep)) == 2
    pruned = reads.trial(store.database, "s/T0")
    rate = {"generator.learning_rate": 0.02}
    for act in (
        lambda: commands.promote_trial(store, pruned),
        lambda: commands.clone_trial(store, pruned, values=rate, by="ada", dry_run=True),
        lambda: commands.fork_trial(store, pruned, 4, values=rate, by="ada"),
        lambda: commands.extend_trial(store, pruned, prepared_to=16, by="ada"),
    ):
        with pytest.raises(
            UserError, match=r"1h is over; raise that first, as in t2f sweep edit s --set budget.wall=14d"
        ):
            act()
    assert reads.sweep(store.database, "s").state == SweepState.STOPPED, "what would end at once is not opened again"
    commands.edit_sweep(store, sweep, {"budget.wall": "14d"}, by="ada")
    commands.promote_trial(store, pruned)
    while not settle(store, "s"):
        assert work_off(store, worker)
    assert states(store, "s") == ["complete", "pruned", "canceled", "canceled"]


def test_device_hours_are_those_of_the_attempts_that_the_sweep_bears(store, submit, clock):
    half = store.register_worker(name="half", node="n", pid=1, device="gpu", share=0.5)
    sweep = submit(FOUR + "budget: {gpu_hours: 1.5}\n", name="s")
    for hours in (1, 2):
        job = claim(store, half, lease=1e6)
        start(store, job)
        clock.now += hours * 3600
        if hours == 1:
            store.report_error(job.stage_run_id, job.attempt, error="x", infrastructure=True, progressed=True)
            assert budgets.spent_budget(store.database, sweep, clock.now) is None
    assert budgets.device_hours(store.database, sweep.id, clock.now) == pytest.approx(1.5)
    settle(store, "s")
    assert reads.sweep(store.database, "s").spent == "its 1.5 device hours are spent (1.5 used)"


def test_a_sweep_that_is_done_before_its_budget_is_complete(store, submit, worker):
    submit(FOUR + "budget: {wall: 1h, gpu_hours: 5}\n", name="s")
    while not settle(store, "s"):
        assert work_off(store, worker)
    assert reads.sweep(store.database, "s").state == SweepState.COMPLETE


# after


def test_a_dependent_sweep_begins_once_the_other_has_ended(store, submit, worker):
    submit(FOUR, name="first")
    submit(FOUR.replace("preset: small", "preset: small\nseed: 1") + "after: first\n", name="second")
    assert states(store, "second") == ["waiting"] * 4
    assert waiting.waits_for(store.database, reads.sweep(store.database, "second")) == (
        "it begins once first has ended, which is running",
        False,
    )
    while not settle(store, "first"):
        assert work_off(store, worker)
    settle(store, "second")
    assert states(store, "second") == ["running"] * 4


@pytest.mark.parametrize("state", [SweepState.CANCELED, SweepState.FAILED])
def test_a_dependent_sweep_never_begins_after_one_that_did_not_end_well(store, submit, worker, state):
    first = submit(FOUR, name="first")
    submit(FOUR + "after: first\n", name="second")
    store.cancel_sweep(first.id, reason="test", state=state)
    assert not settle(store, "second")
    sweep = reads.sweep(store.database, "second")
    assert sweep.state == SweepState.FAILED
    assert sweep.error.startswith(f"it was to begin after first, which is {state};")
    assert set(states(store, "second")) == {TrialState.CANCELED}
    assert claim(store, worker) is None


def test_a_sweep_after_one_that_is_not_there_is_refused(store, resolved):
    with pytest.raises(UserError, match="after: 'nobody' is no sweep of this home"):
        submitting.submit_sweep(
            store, resolved(FOUR + "after: nobody\n"), name="s", submitted="", data_name="tiny", dry_run=True
        )


# share_prefix


def test_nothing_is_shared_where_that_is_off(store, submit, resolved):
    submit(DEMO_LIKE, name="shared")
    before = all_runs(store)
    text = DEMO_LIKE + "share_prefix: off\n"
    tree = submitting.stage_tree(resolved(text), submitting.new_trials(resolved(text)))
    assert (tree.stage_runs, tree.saved) == ({4: 6, 8: 6, 16: 6}, 0)
    submit(text, name="alone")
    assert all_runs(store) == before + 6


def all_runs(store) -> int:
    return sum(len(reads.progress(store.database, sweep).stage_runs) for sweep in reads.sweeps(store.database))
