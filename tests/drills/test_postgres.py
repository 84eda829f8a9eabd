"""A sweep with its rows on PostgreSQL, as it is and while the server crashes; what was acknowledged is never lost."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler import model_reads, reads
from scheduler import tables as t
from scheduler.database import Database, open_database
from scheduler.home import Home
from scheduler.schema import migrate
from scheduler.states import Outcome, RunState
from scheduler.store import Demand, NewTrial, Store
from tests.drills.sweeps import new_home, outcomes, submit
from tests.drills.test_faults import Scheduler, assert_whole, busy_worker, schedulers, until
from tests.postgres_server import PostgresServer

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
__all__ = ["schedulers"]  # a fixture

TRIALS = 400
CLIENTS = 4


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of its own, to be crashed, with the settings that it has by default."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def place(home: Path, tmp_path: Path, server: PostgresServer) -> Home:
    path = tmp_path / "home"
    Home(path=path).use(server.url(server.create_database()))
    return new_home(home, path)


@pytest.fixture
def database(place: Home) -> Iterator[Database]:
    opened = place.open()
    yield opened
    opened.close()


@pytest.mark.ray
def test_a_whole_sweep_and_its_best_model(place, database, schedulers):
    sweep = submit(place)
    schedulers.append(Scheduler(place))
    schedulers[0].wait()
    assert database.is_postgres
    assert not (place.path / "t2f.sqlite").exists()
    assert_whole(place, sweep, database)
    model = model_reads.find_model(database, sweep.name, "best")
    assert model.stage_run_id == reads.ranking(database, sweep)[0].standing.stage_run_id
    assert (place.files / model.uri).exists()


@pytest.mark.ray
def test_the_server_crashes_and_comes_back_while_workers_train(place, database, schedulers, server):
    sweep = submit(place, first=4800, second=2400)
    schedulers.append(Scheduler(place, lease_seconds=30.0))  # as it is by default: longer than a restart
    pids = set()
    for after_images in (300, 1200):
        pids.add(until(lambda least=after_images: busy_worker(database, after_images=least), 300).pid)
        server.restart("immediate")
        assert schedulers[0].process.poll() is None
    schedulers[0].wait()
    assert_whole(place, sweep, database)
    assert set(outcomes(database, sweep)) == {"done"}, "no attempt was lost: the trainers went on"
    with database.read.begin() as connection:
        assert pids <= set(connection.scalars(sa.select(t.workers.c.pid))), "and no worker was started anew"
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.workers)) == 2


def work_off(url: str, number: int, begin: Event, told: multiprocessing.Queue) -> None:
    """Claim and seal until nothing is left; tells what was acknowledged."""
    store = Store(open_database(url))
    worker = store.register_worker(name=f"w{number}", node="n", pid=number, device="cpu", share=1.0)
    begin.wait()
    sealed = []
    claims = 0
    while (job := store.claim(worker, f"{number}-{claims}", lease_seconds=60)) is not None:
        claims += 1
        run, attempt = job.stage_run_id, job.attempt
        store.start(run, attempt, numerics_class="x", start_images=0)
        store.add_curves(run, attempt, [("loss", 8, float(number))])
        store.seal(
            run, attempt, images=8, uri=f"{run}/{attempt}", sha256="s", num_bytes=1, weights_sha256="w", seconds=1.0
        )
        sealed.append((run, attempt, number))
    told.put(sealed)


def test_what_four_clients_were_told_is_there_after_three_crashes(server):
    """Each commit whose answer a crash swallowed is looked up: nothing is lost, and nothing is done twice."""
    url = server.url(server.create_database())
    database = open_database(url)
    migrate(database)
    store = Store(database)
    sweep_id = store.create_sweep(
        name="s",
        submitted="",
        resolved={"checkpoint_seconds": 30.0},
        data_key="d",
        data_name="d",
        provenance={},
        created_by="me",
        trials=[NewTrial(parameters={}, origin="grid")] * TRIALS,
    )
    with database.read.begin() as connection:
        trials = list(connection.scalars(sa.select(t.trials.c.id)))
    spec = {"resolution": 4, "data_key": "d"}
    store.demand(sweep_id, [Demand(trial_id=trial, keys=(f"k{trial}",), spec=spec) for trial in trials], priority=50)
    context = multiprocessing.get_context("spawn")
    begin, told = context.Event(), context.Queue()
    clients = [context.Process(target=work_off, args=(url, number, begin, told)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    until(lambda: len(reads.workers(database)) == CLIENTS)
    begin.set()
    for share in (0.1, 0.4, 0.7):
        until(lambda least=share * TRIALS: count_done(database) >= least)
        server.restart("immediate")
    sealed = [one for _ in clients for one in told.get(timeout=120)]
    for client in clients:
        client.join(timeout=60)
        assert client.exitcode == 0
    with database.read.begin() as connection:
        attempts = connection.execute(sa.select(t.attempts)).all()
        done = connection.execute(
            sa.select(t.stage_runs.c.id, t.stage_runs.c.attempt, t.curves.c.value)
            .join(t.curves, t.curves.c.stage_run_id == t.stage_runs.c.id)
            .where(t.stage_runs.c.state == RunState.DONE)
        ).all()
    assert sorted((run, attempt, float(number)) for run, attempt, number in sealed) == sorted(map(tuple, done))
    assert len(done) == TRIALS
    assert [(one.number, one.outcome) for one in attempts] == [(1, Outcome.DONE)] * TRIALS
    database.close()


def count_done(database) -> int:
    with database.read.begin() as connection:
        return connection.scalar(
            sa.select(sa.func.count()).select_from(t.stage_runs).where(t.stage_runs.c.state == RunState.DONE)
        )
