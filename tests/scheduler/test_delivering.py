"""Hooks told beside the loop: at least once whatever dies, nothing lost, and none waits for another."""

import json
import subprocess
import sys
import threading
from collections import Counter

import pytest

from scheduler import hook_reads, reads
from scheduler.delivering import HookThreads, wait_before
from scheduler.states import TrialState
from scheduler.store import Store
from tests.scheduler.receiver import Receiver, wait_until, write_hooks


@pytest.fixture
def real_store(six) -> Store:
    """The home of six trials by the database's own clock."""
    return Store(six.open())


def start(store: Store, home, **more) -> HookThreads:
    threads = HookThreads(store, home.path, first_wait=0.05, **more)
    threads.start()
    threads.spread()
    return threads


def fail_trials(store: Store, *numbers: int) -> None:
    sweep = reads.sweep(store.database, "six")
    ids = {trial.number: trial.id for trial in reads.trials(store.database, sweep.id)}
    with store.database.write.begin() as connection:
        connection.exec_driver_sql("UPDATE trials SET state = 'running', ended = NULL")
    for number in numbers:
        store.set_trial_states({ids[number]: TrialState.FAILED}, reason=f"fault {number}")


def told(store: Store) -> Counter[str]:
    return Counter(line.state for line in hook_reads.deliveries(store.database, limit=1000))


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (5, 16), (12, 2048), (13, 3600), (100, 3600)])
def test_waits_double_up_to_an_hour(attempt, seconds):
    assert wait_before(attempt) == seconds


def test_a_receiver_that_goes_away_and_comes_back_misses_nothing(six, real_store):
    with Receiver() as receiver:
        write_hooks(six.path, {"name": "a", "webhook": f"http://127.0.0.1:{receiver.port}/x"})
        threads = start(real_store, six)
        fail_trials(real_store, 0, 1)
        threads.spread()
        wait_until(lambda: told(real_store)["delivered"] == 3)  # the best model is the first
        receiver.go()
        fail_trials(real_store, 2, 3)
        threads.spread()
        wait_until(lambda: any(line.attempts > 1 for line in hook_reads.deliveries(real_store.database, limit=9)))
        receiver.status = 500
        receiver.come()
        fail_trials(real_store, 4)
        threads.spread()
        wait_until(
            lambda: any(line.error == "it answered 500" for line in hook_reads.deliveries(real_store.database, limit=9))
        )
        receiver.status = 204
        wait_until(lambda: told(real_store)["delivered"] == 6)
        threads.stop()
        assert set(receiver.ids) == {1, 2, 3, 4, 5, 6}
        assert Counter(receiver.ids)[1] == 1


def test_a_hook_that_hangs_holds_up_no_other(six, real_store, tmp_path):
    noted = tmp_path / "told"
    script = f"cat >> {noted}; echo >> {noted}"
    write_hooks(
        six.path,
        {"name": "hangs", "command": ["sleep", "600"], "timeout_seconds": 500},
        {"name": "quick", "command": ["sh", "-c", script]},
    )
    threads = start(real_store, six)
    fail_trials(real_store, 0)
    threads.spread()
    wait_until(lambda: told(real_store)["delivered"] == 2)
    assert [json.loads(line)["event"] for line in noted.read_text().splitlines()] == ["model.best", "trial.failed"]
    assert told(real_store) == {"delivered": 2, "sending": 1, "waiting": 1}
    threads.stop()
    assert threading.active_count() < 20
    hanging = [line for line in hook_reads.deliveries(real_store.database, limit=9) if line.hook == "hangs"]
    assert {line.state for line in hanging} == {"waiting"}, "what was ended with the scheduler is tried again"


def test_hooks_that_change_while_the_scheduler_runs_are_told(six, real_store, caplog):
    with Receiver() as receiver:
        address = f"http://127.0.0.1:{receiver.port}/x"
        threads = start(real_store, six)  # and there is no hook
        fail_trials(real_store, 0)
        write_hooks(six.path, {"name": "late", "webhook": address})
        threads.spread()
        fail_trials(real_store, 1)
        write_hooks(six.path, {"name": "late", "webhok": address})
        threads.spread()
        wait_until(lambda: told(real_store) == {"delivered": 2})
        assert "the hooks stay as they were" in caplog.text
        assert "unknown key 'webhok'; did you mean 'webhook'?" in caplog.text
        (six.path / "hooks.yaml").unlink()
        fail_trials(real_store, 2)
        threads.spread()
        threads.stop()
        assert told(real_store) == {"delivered": 2}, "what happened while there was no hook is told to none"


def test_a_hook_that_never_answers_is_given_up_once(six, real_store):
    write_hooks(six.path, {"name": "a", "command": ["false"], "attempts": 3})
    threads = start(real_store, six)
    wait_until(lambda: told(real_store) == {"given up": 1})
    threads.stop()
    (line,) = hook_reads.deliveries(real_store.database, limit=9)
    assert (line.attempts, line.error) == (3, "it ended with status 1")


KILLED = """
import os, sys
from pathlib import Path
from scheduler.delivering import HookThreads
from scheduler.home import Home
from scheduler.hooksfile import read_hooks
from scheduler.store import Store
home = Home(path=Path(sys.argv[1]))
store = Store(home.open())
(hook,) = read_hooks(home.path)
threads = HookThreads(store, home.path)
if sys.argv[2] != "before":
    threads.spread()
    delivery = store.claim_delivery(hook.name, seconds=0.2)
    if sys.argv[2] == "after":
        from scheduler.sending import send
        send(hook, delivery)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_scheduler_killed_between_event_and_delivery_is_followed_by_one_that_tells(six, real_store, moment):
    with Receiver() as receiver:
        write_hooks(six.path, {"name": "a", "webhook": f"http://127.0.0.1:{receiver.port}/x"})
        killed = subprocess.run([sys.executable, "-c", KILLED, str(six.path), moment], timeout=60, check=False)
        assert killed.returncode == -9
        assert told(real_store) == ({} if moment == "before" else {"sending": 1})
        threads = start(real_store, six)
        wait_until(lambda: told(real_store) == {"delivered": 1})
        threads.stop()
        assert receiver.ids == ([1, 1] if moment == "after" else [1]), "at least once, and the id tells of the second"


def test_two_schedulers_tell_once(six, real_store):
    with Receiver() as receiver:
        write_hooks(six.path, {"name": "a", "webhook": f"http://127.0.0.1:{receiver.port}/x"})
        fail_trials(real_store, 0, 1, 2, 3)
        both = [start(real_store, six), start(Store(six.open()), six)]
        wait_until(lambda: told(real_store) == {"delivered": 5})
        for threads in both:
            threads.stop()
        assert sorted(receiver.ids) == [1, 2, 3, 4, 5]
