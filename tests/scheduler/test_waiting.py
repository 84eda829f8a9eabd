"""Why a sweep waits although it runs: told in words, for what truly waits, and for nothing else."""

from dataclasses import replace

import pytest

from scheduler import commands, reads, settling, submitting, waiting
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.test_limits import FOUR

WANTS = FOUR + "resources: {labels: {pool: a100}}\n"
HAVE = "no worker has pool=a100; workers have no labels (1)"


@pytest.fixture
def why(store):
    def told(name: str) -> str | None:
        return waiting.reasons(store.database).get(reads.sweep(store.database, name).id)

    return told


def a100(store, name: str = "a100") -> int:
    return store.register_worker(name=name, node="n", pid=1, device="cpu", share=1.0, labels={"pool": "a100"})


def test_a_sweep_whose_labels_nobody_has_says_so_until_somebody_has_them(store, submit, why):
    submit(WANTS)
    assert why("s") == "no worker has pool=a100, as none runs now"
    plain = store.register_worker(name="plain", node="n", pid=1, device="cpu", share=1.0)
    assert why("s") == HAVE
    able = a100(store)
    assert why("s") is None
    store.end_worker(able)
    assert why("s") == HAVE
    store.end_worker(plain)
    assert why("s") == "no worker has pool=a100, as none runs now"


def test_a_sweep_that_wants_no_labels_waits_for_nobody(store, submit, why):
    submit(FOUR)
    assert why("s") is None


def test_a_scheduler_without_room_holds_all_up_and_says_so(store, submit, why, clock):
    submit(FOUR)
    commands.pause_sweep(store, submit(FOUR, name="paused"))
    submit(WANTS, name="a100")
    store.hold_up("me", store.lead("me", 10), "the disk is full")
    assert (why("s"), why("paused")) == ("the disk is full", None)
    assert why("a100") == "no worker has pool=a100, as none runs now", "more room would not help it"
    store.hold_up("an older one", 1, None)
    assert why("s") == "the disk is full", "who leads no more has nothing to say"
    store.hold_up("me", 1, None)
    assert why("s") is None
    store.hold_up("me", 1, "the disk is full")
    clock.now += 11
    assert store.lead("another", 10) == 2
    assert why("s") is None, "the next one looks for itself"


def test_an_edit_mends_it(store, submit, why, worker):
    sweep = submit(WANTS)
    assert why("s") == HAVE
    commands.edit_sweep(store, sweep, {"resources.labels": {}}, by="me")
    assert why("s") is None


def test_what_does_not_run_waits_for_nobody(store, submit, why, worker):
    sweep = submit(WANTS)
    commands.pause_sweep(store, sweep)
    assert why("s") is None, "it says that it is paused"
    commands.resume_sweep(store, sweep)
    assert why("s") == HAVE
    commands.cancel_sweep(store, sweep)
    assert why("s") is None


def test_who_wants_the_same_stage_runs_is_told_whom_they_belong_to(store, submit, why, worker):
    first = submit(WANTS, name="first")
    submit(FOUR, name="second")
    submit(FOUR.replace("preset: small", "preset: small\nseed: 1"), name="third")
    assert why("first") == HAVE
    assert why("second") == f"first wanted 4 of its stage runs before it: {HAVE}"
    assert why("third") is None
    able = a100(store)
    assert why("second") is None
    store.end_worker(able)
    store.cancel_sweep(first.id, reason="test")
    settling.settle(store, reads.sweep(store.database, "second"))
    assert why("second") is None, "they are its own now"
    assert claim(store, worker).kind == "train"


def test_the_part_that_waits_is_told_while_the_rest_goes_on(store, submit, why, worker):
    submit(WANTS, name="first")
    submit(FOUR.replace("[0.001, 0.002, 0.003, 0.004]", "[0.001, 0.005]"), name="second")
    job = claim(store, worker)
    assert why("second") == f"first wanted 1 of its stage runs before it: {HAVE}"
    start(store, job)
    finish(store, job)


def test_after_comes_before_labels(store, submit, why, worker):
    first = submit(FOUR, name="first")
    submit(WANTS + "after: first\n", name="second")
    assert why("second") == "it begins once first has ended, which is running"
    store.cancel_sweep(first.id, reason="test")
    assert why("second").startswith("it was to begin after first, which is canceled")


def test_a_loop_of_ones_own_waits_for_no_worker(store, resolved, why):
    own = replace(resolved(WANTS), own_loop=True)
    submitting.submit_sweep(store, own, name="own", submitted=WANTS, data_name="tiny")
    assert why("own") is None


def test_a_submission_says_who_will_train_it(store):
    assert waiting.labels_note(store.database, {}) is None
    assert waiting.labels_note(None, {"pool": "a100"}) == (
        "no worker has pool=a100, as none runs now; it waits until one has"
    )
    store.register_worker(name="plain", node="n", pid=1, device="cpu", share=1.0)
    assert waiting.labels_note(store.database, {"pool": "a100"}) == f"{HAVE}; it waits until one has"
    a100(store)
    assert waiting.labels_note(store.database, {"pool": "a100"}) == (
        "only workers with pool=a100 train it: 1 of 2 that run now"
    )
