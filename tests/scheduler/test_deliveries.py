"""The outbox: written with the event or not at all, spread over hooks, each told at least once, nothing for ever."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from scheduler import hook_reads, model_reads, promoting, reads
from scheduler import tables as t
from scheduler.states import SweepState, TrialState
from scheduler.store.writes import record_event
from tests.scheduler.acting import claim
from tests.scheduler.measured import make_bundle

ALL = {"all": ("sweep.ended", "trial.failed", "model.best")}


def outbox(store) -> list[tuple[str, str]]:
    with store.database.read.begin() as connection:
        rows = connection.execute(sa.select(t.outbox).order_by(t.outbox.c.id)).all()
    return [(row.kind, row.payload.get("trial") or row.payload["sweep"]) for row in rows]


def test_the_events_that_hooks_may_wait_for_are_in_the_outbox(six_store, promote):
    sweep = reads.sweep(six_store.database, "six")
    trials = reads.trials(six_store.database, sweep.id)
    assert outbox(six_store) == [("model.best", "six/T4")]
    promote("six/T1")  # another alias than best
    with six_store.database.write.begin() as connection:
        connection.execute(t.trials.update().values(state=TrialState.RUNNING, ended=None))
    six_store.set_trial_states({trials[0].id: TrialState.FAILED}, reason="it broke")
    six_store.set_trial_states({trials[1].id: TrialState.DIVERGED})
    six_store.set_trial_states({trial.id: TrialState.COMPLETE for trial in trials[2:]})
    six_store.set_sweep_paused(sweep.id, paused=True)
    assert six_store.end_sweep(sweep.id, SweepState.COMPLETE)
    assert outbox(six_store) == [
        ("model.best", "six/T4"),
        ("trial.failed", "six/T0"),
        ("trial.failed", "six/T1"),
        ("sweep.ended", "six"),
    ]
    assert promoting.promote_best(six_store, sweep, make_bundle).standing.number == 4
    assert len(outbox(six_store)) == 4, "it was the best already"
    six_store.spread_outbox(ALL)
    told = [six_store.claim_delivery("all", seconds=10) for _ in range(4)]
    assert told[0].payload["value"] == 0.5
    assert told[0].payload["metric"] == "score"
    assert told[1].payload["reason"] == "it broke"
    assert told[1].payload["parameters"] == {"generator.learning_rate": 0.001}
    assert [one.payload["state"] for one in told[1:]] == ["failed", "diverged", "complete"]


def test_an_event_that_is_taken_back_leaves_nothing(store, submit):
    sweep = submit()
    connection = store.database.write.connect()
    with connection.begin() as transaction:
        record_event(connection, 1.0, "sweep.failed", sweep_id=sweep.id)
        transaction.rollback()
    connection.close()
    assert outbox(store) == []


@pytest.fixture
def noted(store, submit):
    """Two entries, of a failed trial and of the sweep's end."""
    sweep = submit()
    store.set_trial_states({reads.trials(store.database, sweep.id)[0].id: TrialState.FAILED}, reason="x")
    store.cancel_sweep(sweep.id, reason="y")
    return store


def states(store) -> list[tuple[int, str, str, int]]:
    found = hook_reads.deliveries(store.database, limit=100)
    return sorted((line.id, line.hook, line.state, line.attempts) for line in found)


def test_each_hook_gets_what_it_waits_for_once(noted):
    assert hook_reads.has_news(noted.database)
    assert noted.spread_outbox({"a": ("sweep.ended",), "b": ("sweep.ended", "trial.failed")}) == 2
    assert noted.spread_outbox({"a": ("sweep.ended",), "b": ("sweep.ended", "trial.failed")}) == 0
    assert not hook_reads.has_news(noted.database)
    assert states(noted) == [(1, "b", "waiting", 0), (2, "a", "waiting", 0), (2, "b", "waiting", 0)]


def test_a_try_ends_delivered_or_comes_again_or_is_given_up(noted, clock):
    noted.spread_outbox(ALL)
    first = noted.claim_delivery("all", seconds=10)
    assert (first.outbox_id, first.event, first.attempt) == (1, "trial.failed", 1)
    assert noted.end_delivery(first)
    second = noted.claim_delivery("all", seconds=10)
    assert noted.end_delivery(second, error="no answer", again_in=5)
    assert noted.claim_delivery("all", seconds=10) is None
    clock.now += 5
    second = noted.claim_delivery("all", seconds=10)
    assert second.attempt == 2
    assert noted.end_delivery(second, error="no answer")
    assert states(noted) == [(1, "all", "delivered", 1), (2, "all", "given up", 2)]
    with noted.database.read.begin() as connection:
        event = connection.execute(sa.select(t.events).where(t.events.c.kind == "hook.given_up")).one()
    assert event.payload == {"hook": "all", "outbox_id": 2, "attempts": 2, "error": "no answer"}
    assert noted.retry_deliveries(hook="other") == 0
    assert noted.retry_deliveries(hook="all") == 1
    assert noted.claim_delivery("all", seconds=10).attempt == 1


def test_a_try_whose_process_died_is_taken_up_again_and_fenced(noted, clock):
    noted.spread_outbox({"all": ("sweep.ended",)})
    lost = noted.claim_delivery("all", seconds=10)
    assert noted.claim_delivery("all", seconds=10) is None
    clock.now += 10
    again = noted.claim_delivery("all", seconds=10)
    assert (again.id, again.attempt) == (lost.id, 2)
    assert not noted.end_delivery(lost, error="late", again_in=1), "another try has begun"
    assert noted.end_delivery(again)
    assert not noted.end_delivery(again, error="twice")
    assert states(noted) == [(2, "all", "delivered", 2)]


def test_what_waits_for_a_hook_that_is_no_more_is_given_up(noted):
    noted.spread_outbox({"old": ("sweep.ended",)})
    noted.spread_outbox({"new": ("sweep.ended",)})
    (line,) = hook_reads.deliveries(noted.database, limit=10)
    assert (line.state, line.error) == ("given up", "there is no such hook in hooks.yaml any more")


def test_what_is_long_over_is_forgotten_and_what_is_open_is_not(noted, clock):
    noted.spread_outbox(ALL)
    noted.end_delivery(noted.claim_delivery("all", seconds=10))
    clock.now += 40 * 24 * 3600
    noted.spread_outbox(ALL)
    assert states(noted) == [(2, "all", "waiting", 0)]
    assert [kind for kind, _ in outbox(noted)] == ["sweep.ended"]


def test_aliases_move_roll_back_and_keep_their_history_on_every_database(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    trial = reads.trials(store.database, sweep.id)[0]
    for version in (1, 2, 3):
        common = {"trial_id": trial.id, "stage_run_id": job.stage_run_id, "sha256": "x", "by": "ann"}
        assert store.register_model(name="s", uri=f"u{version}", aliases=["champion"], **common) == version
    assert store.roll_back_alias("s", "champion", by="bob") == 2
    assert store.roll_back_alias("s", "champion", by="bob") == 1
    assert store.roll_back_alias("s", "champion", by="bob") is None
    assert [move.version for move in model_reads.alias_moves(store.database, "s")] == [1, 2, 3, 2, 1]
    with pytest.raises(IntegrityError, match="append-only"), store.database.write.begin() as connection:
        connection.execute(t.alias_moves.update().values(moved_by="mallory"))


def test_a_trial_of_ones_own_loop_is_begun_once_and_told_once(store, submit):
    trial = reads.trials(store.database, submit().id)[1]
    with store.database.write.begin() as connection:
        connection.execute(t.trials.update().where(t.trials.c.id == trial.id).values(state=TrialState.WAITING))
    assert store.begin_trial(trial.id, {"a": 1})
    assert not store.begin_trial(trial.id, {"a": 2})
    assert store.tell_trial(trial.id, TrialState.FAILED, reason="x")
    assert not store.tell_trial(trial.id, TrialState.COMPLETE, values={"score": 0.5})
    found = reads.trial(store.database, trial.name)
    assert (found.state, found.parameters, found.told) == ("failed", {"a": 1}, None)
    assert outbox(store) == [("trial.failed", trial.name)]
