"""Several clients write at the same time, each with connections of its own: what holds for one holds for them together.

On SQLite they take turns at its write lock; on PostgreSQL only the locks of rows keep them apart.
"""

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling, submitting
from scheduler import tables as t
from scheduler.database import locked, open_database, writing
from scheduler.repeating import repeated
from scheduler.states import RunState
from scheduler.store import Assignment, Claimant, Demand, NewTrial, Seal, StaleAttempt, Store
from t2f.errors import UserError
from tests.postgres_server import PASSWORD
from tests.scheduler.acting import finish, sealed, start
from tests.scheduler.invariants import LEASE, TRIALS, assert_rows_agree, come_to_an_end, small_sweep

CLIENTS = 4
ACTS = 30  # of each client
FIRST_SEED = int(os.environ.get("T2F_MACHINE_FIRST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + 5 * int(os.environ.get("T2F_MACHINE_SEEDS", "4")))


@pytest.fixture
def clients(database, clock) -> Iterator[list[Store]]:
    stores = [Store(open_database(database.url), clock=clock) for _ in range(CLIENTS)]
    yield stores
    for one in stores:
        one.database.close()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What the acts return, begun at one moment in threads; an error of any is raised."""
    meet = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        meet.wait()
        try:
            results[number] = acts[number]()
        except BaseException as error:  # an error in a thread would be lost
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def begin_sweep(store: Store, name: str = "s", *, trials: int = 0) -> int:
    """A sweep's id; its trials are without parameters."""
    return store.create_sweep(
        name=name,
        submitted="",
        resolved={"checkpoint_seconds": 30.0},
        data_key="d",
        data_name="d",
        provenance={},
        created_by="me",
        trials=[NewTrial(parameters={}, origin="grid")] * trials,
    )


def trial_ids(store: Store, sweep_id: int) -> list[int]:
    with store.database.read.begin() as connection:
        return list(connection.scalars(sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id)))


def wanted(trial: int, key: str) -> Demand:
    return Demand(trial_id=trial, keys=(key,), spec={"resolution": 4, "data_key": "d"})


def any_order(client: Store, number: int, seed: int) -> None:
    """A client that claims, begins, ends, expires, settles, cancels, retries, pauses as chance will have it."""
    chance, jobs, sweep = random.Random(f"{seed} {number}"), [], reads.sweep(client.database, "s")
    workers = [worker.id for worker in reads.workers(client.database, with_ended=True)]

    def claim() -> None:
        job = client.claim(chance.choice(workers), f"{number} {chance.random()}", lease_seconds=LEASE)
        if job is not None:
            jobs.append(job)

    def claim_for_all() -> None:
        claimants = [Claimant(worker_id=worker, claim_id=f"{number} {chance.random()}") for worker in workers]
        jobs.extend(job for job in client.claim_all(claimants, lease_seconds=LEASE) if job is not None)

    def seal_all() -> None:
        those = [job for job in jobs if job.kind == "train"]
        client.seal_all([Seal(stage_run_id=job.stage_run_id, attempt=job.attempt, **sealed(job)) for job in those])

    def trial() -> reads.Trial:
        return reads.trials(client.database, sweep.id)[chance.randrange(TRIALS)]

    acts: list[Callable[[], object]] = [
        claim,
        claim_for_all,
        seal_all,
        lambda: jobs and start(client, jobs[-1]),
        lambda: jobs and start(client, jobs[-1]),
        lambda: jobs and finish(client, jobs[-1]),
        lambda: jobs and finish(client, jobs[-1]),
        client.expire_leases,
        lambda: settling.settle(client, reads.sweep(client.database, "s")),
        lambda: commands.cancel_trial(client, trial()),
        lambda: commands.retry_trial(client, sweep, trial()),
        lambda: commands.pause_sweep(client, sweep),
        lambda: commands.resume_sweep(client, sweep),
        lambda: client.lose_worker(chance.choice(workers), error="it is gone"),
    ]
    for _ in range(ACTS):
        with suppress(StaleAttempt, UserError):  # another one was first
            chance.choice(acts)()


def run_in_any_order(clients: list[Store], clock, seed: int) -> None:
    store = clients[0]
    submitting.submit_sweep(store, small_sweep(), name="s", submitted="", data_name="tiny")
    for number in range(2):
        store.register_worker(name=f"w{number}", node="n", pid=number, device="cpu", share=1.0)
    sweep = reads.sweep(store.database, "s")
    settling.settle(store, sweep)
    at_once(*(lambda one=one, number=number: any_order(one, number, seed) for number, one in enumerate(clients)))
    assert_rows_agree(store.database, num_trials=TRIALS)
    worker = store.register_worker(name="last", node="n", pid=9, device="cpu", share=1.0)
    come_to_an_end(store, worker, sweep, clock)
    assert_rows_agree(store.database, num_trials=TRIALS)


def test_clients_that_act_at_once_in_any_order(clients, clock):
    run_in_any_order(clients, clock, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_clients_that_act_at_once_in_any_order_at_length(clients, clock, seed):
    run_in_any_order(clients, clock, seed)


def test_a_stage_run_goes_to_one_client(clients):
    sweep_id = begin_sweep(clients[0], trials=20)
    demands = [wanted(trial, f"k{trial}") for trial in trial_ids(clients[0], sweep_id)]
    clients[0].demand(sweep_id, demands, priority=50)
    names = itertools.count()

    def claim_all(client: Store) -> list[Assignment]:
        worker = client.register_worker(name=f"{next(names)}", node="n", pid=1, device="cpu", share=1.0)
        claims = iter(lambda: client.claim(worker, f"{next(names)}", lease_seconds=LEASE), None)
        return list(claims)

    claimed = [job for jobs in at_once(*(lambda one=one: claim_all(one) for one in clients)) for job in jobs]
    assert len({job.stage_run_id for job in claimed}) == len(claimed) == 20


def test_a_claim_that_is_repeated_before_the_first_one_is_through_is_the_same(clients, submit, worker):
    submit()
    jobs = at_once(*(lambda one=one: one.claim(worker, "same", lease_seconds=LEASE) for one in clients))
    assert len({(job.stage_run_id, job.attempt) for job in jobs}) == 1


def test_a_stage_run_that_two_sweeps_want_is_made_once(clients):
    sweeps = [begin_sweep(one, f"s{number}", trials=1) for number, one in enumerate(clients)]
    trials = [trial_ids(clients[0], sweep_id)[0] for sweep_id in sweeps]
    for turn in range(5):
        at_once(
            *(
                lambda one=one, sweep_id=sweep_id, trial=trial, turn=turn: one.demand(
                    sweep_id, [wanted(trial, f"shared {turn}")], priority=50
                )
                for one, sweep_id, trial in zip(clients, sweeps, trials, strict=True)
            )
        )
    with clients[0].database.read.begin() as connection:
        assert connection.execute(sa.select(t.stage_runs.c.state)).all() == [(RunState.READY,)] * 5
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.demands)) == 5 * CLIENTS


def test_what_a_sweep_wants_waits_when_it_is_paused_at_that_moment(clients):
    for turn in range(5):
        sweep_id = begin_sweep(clients[0], f"s{turn}", trials=1)
        (trial,) = trial_ids(clients[0], sweep_id)
        at_once(
            lambda sweep_id=sweep_id, trial=trial, turn=turn: clients[0].demand(
                sweep_id, [wanted(trial, f"k{turn}")], priority=50
            ),
            lambda sweep_id=sweep_id: clients[1].set_sweep_paused(sweep_id, paused=True),
        )
    with clients[0].database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.stage_runs.c.state))) == {RunState.WAITING}
        assert set(connection.scalars(sa.select(t.demands.c.paused))) == {1}


def test_trials_added_at_once_have_numbers_of_their_own(clients):
    sweep_id = begin_sweep(clients[0])
    new = [NewTrial(parameters={}, origin="enqueued")] * 3
    at_once(*(lambda one=one: one.add_trials(sweep_id, new) for one in clients))
    with clients[0].database.read.begin() as connection:
        numbers = sorted(connection.scalars(sa.select(t.trials.c.number)))
    assert numbers == list(range(3 * CLIENTS))


def test_models_registered_at_once_are_one_version_a_stage_run_and_one_has_the_alias(clients, submit, worker):
    submit()
    jobs = [clients[0].claim(worker, f"c{number}", lease_seconds=LEASE) for number in range(2)]
    (trial, *_) = trial_ids(clients[0], 1)
    versions = at_once(
        *(
            lambda one=one, job=jobs[number % 2]: one.register_model(
                name="m", trial_id=trial, stage_run_id=job.stage_run_id, uri="u", sha256="s", aliases=["best"]
            )
            for number, one in enumerate(clients)
        )
    )
    assert sorted({*versions[::2], *versions[1::2]}) == [1, 2]
    assert len(set(versions[::2])) == len(set(versions[1::2])) == 1
    with clients[0].database.read.begin() as connection:
        rows = connection.execute(sa.select(t.models)).all()
    assert sorted(row.version for row in rows) == [1, 2]
    assert sum("best" in row.aliases for row in rows) == 1


def test_one_scheduler_leads(clients):
    for _ in range(3):
        terms = at_once(*(lambda one=one, who=str(who): one.lead(who, LEASE) for who, one in enumerate(clients)))
        assert [term for term in terms if term is not None] == [1]


# What PostgreSQL alone can do to a transaction


@pytest.mark.postgres
@pytest.mark.parametrize("arrived", [True, False])
def test_a_commit_whose_answer_was_lost_counts_as_what_it_was(postgres_url, arrived):
    store = Store(open_database(postgres_url))
    sweep_id = begin_sweep(store)
    dialect = store.database.write.dialect
    commit, lost = dialect.do_commit, []

    def lose(connection) -> None:
        if not lost:
            lost.append(connection)
            if arrived:
                commit(connection)
            with psycopg.connect(connection.dbapi_connection.info.dsn, password=PASSWORD) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.dbapi_connection.info.backend_pid,))
            connection.cursor().execute("SELECT 1")  # raises: nobody answers any more
        commit(connection)

    dialect.do_commit = lose
    store.add_trials(sweep_id, [NewTrial(parameters={}, origin="enqueued")])
    dialect.do_commit = commit
    assert len(trial_ids(store, sweep_id)) == 1, "written once, and once only"
    store.database.close()


@pytest.mark.postgres
def test_a_deadlock_is_done_again(postgres_url):
    store = Store(open_database(postgres_url))
    sweeps = [begin_sweep(store, "a"), begin_sweep(store, "b")]
    held, tries = threading.Barrier(2), []

    @repeated
    def lock_both(first: int, second: int) -> None:
        with writing(store.database) as (connection, _):
            connection.execute(locked(sa.select(t.sweeps.c.id).where(t.sweeps.c.id == first)))
            tries.append(first)
            if tries.count(first) == 1 and len(tries) <= 2:
                held.wait()
            connection.execute(locked(sa.select(t.sweeps.c.id).where(t.sweeps.c.id == second)))

    at_once(lambda: lock_both(*sweeps), lambda: lock_both(*reversed(sweeps)))
    assert len(tries) == 3
    store.database.close()


@pytest.mark.postgres
def test_other_errors_are_not_repeated(postgres_server):
    calls = []

    @repeated
    def fail() -> None:
        calls.append(1)
        with psycopg.connect(postgres_server.url()) as connection:
            connection.execute("SELECT nothing")

    with pytest.raises(psycopg.errors.UndefinedColumn):
        fail()
    assert len(calls) == 1
