"""Clones, forks and extensions: what they share, what they train, and what is refused."""

import pytest

from scheduler import commands, reads, settling, trial_reads
from scheduler.states import SweepState, TrialState
from t2f.errors import UserError
from t2f.spec import stage_keys
from tests.scheduler.acting import claim, finish, finish_sweep, start, work_off

LATE_RATE = {"generator.learning_rate": 0.0005}


@pytest.fixture
def ended(store, submit, worker):
    """The demo-like sweep at its end: T4, T5 complete, the others pruned at 8 px."""
    sweep = submit()

    def score(job) -> float:
        settings = job.spec["stage"]["settings"] if job.kind == "evaluate" else {}
        return (
            0.2 + 0.3 * (settings.get("loss.name") == "logistic-r1") + 50 * settings.get("generator.learning_rate", 0)
        )

    finish_sweep(store, sweep, worker, score)
    return reads.sweep(store.database, "s")


def trial(store, name: str):
    return reads.trial(store.database, name)


def run_out(store, worker) -> None:
    for _ in range(20):
        if settling.settle(store, reads.sweep(store.database, "s")):
            settling.end_sweep(store, reads.sweep(store.database, "s"))
            return
        work_off(store, worker)
    pytest.fail("the sweep hangs")


def keys(store, name: str) -> tuple[str, ...]:
    one = trial(store, name)
    return stage_keys(reads.sweep(store.database, one.sweep_name).resolved.space.stages(one.parameters, one.deviation))


def test_a_fork_shares_what_is_below_and_trains_the_rest(store, ended, worker):
    branch = commands.fork_trial(store, trial(store, "s/T5"), 8, values=LATE_RATE, by="ada")
    assert (branch.name, branch.of, branch.stages) == ("s/T6", "s/T5@8", {4: True, 8: True, 16: False})
    new = trial(store, "s/T6")
    assert (new.origin, new.attributes["skips_rungs"], new.parameters) == (
        "fork",
        True,
        trial(store, "s/T5").parameters,
    )
    assert keys(store, "s/T6")[:2] == keys(store, "s/T5")[:2]
    assert reads.sweep(store.database, "s").state == SweepState.RUNNING, "it is open again"
    run_out(store, worker)
    assert trial(store, "s/T6").state == TrialState.COMPLETE
    path = trial_reads.stage_runs_of(store.database, new.id)
    assert [run.spec["settings"]["generator.learning_rate"] for run in path][1:] == [0.004, 0.0005]
    assert [run.attempt for run in path] == [1, 1, 1]
    assert reads.sweep(store.database, "s").state == SweepState.COMPLETE


def test_a_fork_of_a_fork_keeps_what_the_first_one_changed(store, ended, worker):
    first = commands.fork_trial(store, trial(store, "s/T5"), 4, values={"discriminator.learning_rate": 0.003}, by="a")
    run_out(store, worker)
    second = commands.fork_trial(store, trial(store, first.name), 8, values=LATE_RATE, by="a")
    assert second.stages == {4: True, 8: True, 16: False}
    assert trial(store, second.name).deviation.late[16] == {"discriminator.learning_rate": 0.003, **LATE_RATE}


def test_a_fork_overrides_what_the_sweep_gives_later_stages(store, submit, worker):
    text = """
name: per-stage
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
parameters:
  generator.learning_rate: {per_stage: [0.001, 0.002, 0.003]}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
    submit(text=text)
    run_out(store, worker)
    branch = commands.fork_trial(store, trial(store, "s/T0"), 4, values=LATE_RATE, by="ada")
    stages = reads.sweep(store.database, "s").resolved.space.stages(
        {"generator.learning_rate": 0.001}, trial(store, branch.name).deviation
    )
    assert [stage.settings.flat()["generator.learning_rate"] for stage in stages] == [0.001, 0.0005, 0.0005]


@pytest.mark.parametrize(
    ("name", "resolution", "values", "message"),
    [
        ("s/T0", 16, LATE_RATE, "no sealed stage of 16 px to fork from; sealed: 4 px, 8 px"),
        ("s/T5", 32, LATE_RATE, "no sealed stage of 32 px"),
        ("s/T5", 16, LATE_RATE, "16 px is the last stage .* t2f trial extend s/T5 --to 32"),
        ("s/T5", 8, {"network.latent": 32}, "decides the shape of the weights, .* t2f trial clone s/T5 --set network"),
        ("s/T5", 8, {}, "would train nothing"),
        ("s/T5", 8, {"generator.learning_rate": 0.004}, "would train nothing"),
        ("s/T5", 8, {"generator.rate": 1}, "generator.learning_rate"),
        ("s/T5", 8, {"generator.learning_rate": "fast"}, "must be a number"),
    ],
)
def test_forks_that_cannot_be(store, ended, name, resolution, values, message):
    with pytest.raises(UserError, match=message):
        commands.fork_trial(store, trial(store, name), resolution, values=values, by="ada")
    assert reads.sweep(store.database, "s").state == SweepState.COMPLETE


def test_a_clone_is_judged_as_any_other(store, ended, worker):
    branch = commands.clone_trial(store, trial(store, "s/T5"), values={"generator.learning_rate": 0.003}, by="ada")
    assert branch.stages == {4: True, 8: False, 16: False}
    new = trial(store, branch.name)
    assert (new.origin, "skips_rungs" in new.attributes) == ("clone", False)
    assert new.parameters == {"loss.name": "logistic-r1", "generator.learning_rate": 0.003}
    run_out(store, worker)
    assert trial(store, branch.name).state == TrialState.PRUNED


def test_a_clone_with_a_setting_that_the_sweep_does_not_try(store, ended):
    branch = commands.clone_trial(store, trial(store, "s/T5"), values={"network.latent": 80}, by="ada")
    assert branch.stages == {4: False, 8: False, 16: False}
    assert trial(store, branch.name).deviation.late == {4: {"network.latent": 80}}
    seeded = commands.clone_trial(store, trial(store, branch.name), values={}, seed=7, by="ada")
    assert trial(store, seeded.name).deviation.seed == 7
    assert trial(store, seeded.name).deviation.late == {4: {"network.latent": 80}}
    with pytest.raises(UserError, match="would train nothing"):
        commands.clone_trial(store, trial(store, "s/T5"), values={}, by="ada")


def test_a_clone_loses_what_is_chosen_under_a_condition_that_holds_no_more(store, submit):
    text = """
name: conditional
data: {dataset: tiny}
preset: small
stages: {resolutions: [4], images: [40], batch: 8}
parameters:
  loss.name: {values: [logistic-r1]}
  loss.r1_gamma: {values: [0.5], when: {loss.name: logistic-r1}}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
    submit(text=text)
    branch = commands.clone_trial(store, trial(store, "s/T0"), values={"loss.name": "wgan-gp"}, by="ada")
    assert trial(store, branch.name).parameters == {"loss.name": "wgan-gp"}


def test_a_longer_last_stage_is_trained_again_from_the_one_before(store, ended, worker):
    branch = commands.extend_trial(store, trial(store, "s/T5"), images=80, prepared_to=16, by="ada")
    assert branch.stages == {4: True, 8: True, 16: False}
    run_out(store, worker)
    path = trial_reads.stage_runs_of(store.database, trial(store, branch.name).id)
    assert [run.spec["images"] for run in path] == [40, 40, 80]
    assert trial(store, branch.name).state == TrialState.COMPLETE


def test_further_stages_go_on_the_last_one(store, ended, worker):
    branch = commands.extend_trial(store, trial(store, "s/T5"), to=64, images_beyond=(24,), prepared_to=64, by="ada")
    assert branch.stages == {4: True, 8: True, 16: True, 32: False, 64: False}
    run_out(store, worker)
    path = trial_reads.stage_runs_of(store.database, trial(store, branch.name).id)
    assert [(run.resolution, run.spec["images"]) for run in path][-2:] == [(32, 24), (64, 24)]
    assert reads.ranking(store.database, reads.sweep(store.database, "s"))[0].standing.resolution == 64
    again = commands.extend_trial(store, trial(store, branch.name), images=48, prepared_to=64, by="ada")
    assert again.stages == {4: True, 8: True, 16: True, 32: True, 64: False}


def test_a_pruned_trial_is_taken_to_its_end_at_the_cost_of_what_is_left(store, ended, worker):
    branch = commands.extend_trial(store, trial(store, "s/T0"), prepared_to=16, by="ada")
    assert branch.stages == {4: True, 8: True, 16: False}
    run_out(store, worker)
    assert trial(store, branch.name).state == TrialState.COMPLETE
    assert trial(store, "s/T0").state == TrialState.PRUNED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give --images N for a longer last stage"),
        ({"images": 40}, "the last stage of s/T5 has 40 images, so give more"),
        ({"to": 16, "images_beyond": (8,)}, "ends at 16 px, so give one of 32, 64"),
        ({"to": 48, "images_beyond": (8,)}, "so give one of 32, 64"),
        ({"to": 128, "images_beyond": (8,)}, "prepared up to 64 px"),
        ({"to": 64, "images_beyond": (8, 8, 8)}, "--kimg has 3 values for 2 further stages"),
        ({"to": 64}, "--kimg has 0 values"),
        ({"images_beyond": (8,), "images": 80}, "give --to PX"),
    ],
)
def test_extensions_that_cannot_be(store, ended, changes, message):
    with pytest.raises(UserError, match=message):
        commands.extend_trial(store, trial(store, "s/T5"), **changes, prepared_to=64, by="ada")
    assert len(reads.trials(store.database, ended.id)) == 6


def test_only_what_ended_well_is_extended(store, submit):
    submit()
    with pytest.raises(UserError, match="s/T0 is running; only a complete trial can be extended"):
        commands.extend_trial(store, trial(store, "s/T0"), images=80, prepared_to=16, by="ada")


def test_a_dry_run_writes_nothing(store, ended):
    branch = commands.fork_trial(store, trial(store, "s/T5"), 8, values=LATE_RATE, by="ada", dry_run=True)
    assert (branch.name, branch.stages) == (None, {4: True, 8: True, 16: False})
    assert reads.sweep(store.database, "s").state == SweepState.COMPLETE
    assert len(reads.trials(store.database, ended.id)) == 6


def test_a_trial_that_is_added_while_a_sweep_ends_keeps_it_open(store, submit, worker):
    sweep = submit()
    while not settling.settle(store, sweep):
        work_off(store, worker)
    # Settled; somebody forks before it is ended.
    branch = commands.fork_trial(store, trial(store, "s/T5"), 8, values=LATE_RATE, by="ada")
    settling.end_sweep(store, sweep)
    assert reads.sweep(store.database, "s").state == SweepState.RUNNING
    run_out(store, worker)
    assert trial(store, branch.name).state == TrialState.COMPLETE


def test_a_sweep_that_is_being_stopped_takes_no_trials(store, submit, worker):
    sweep = submit()
    start(store, job := claim(store, worker))
    commands.stop_sweep(store, sweep, reason="stopped by ada")
    with pytest.raises(UserError, match="is being stopped"):
        commands.clone_trial(store, trial(store, "s/T0"), values={}, seed=3, by="ada")
    with pytest.raises(UserError, match="is being stopped"):
        commands.edit_sweep(store, reads.sweep(store.database, "s"), {"resources.priority": 9}, by="ada")
    finish(store, job)
    run_out(store, worker)
    assert commands.clone_trial(store, trial(store, "s/T0"), values={}, seed=3, by="ada").name == "s/T6"
