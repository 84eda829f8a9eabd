"""The grants that docs/databases.md gives to workers are enough for what they write, and for nothing else."""

import re
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

from scheduler import tables as t
from scheduler.database import open_database
from scheduler.states import Outcome
from scheduler.store import Store
from tests.postgres_server import PostgresServer
from tests.scheduler.acting import finish, start
from tests.scheduler.test_store_at_once import begin_sweep, trial_ids, wanted

pytestmark = pytest.mark.postgres

DOCS = Path(__file__).parents[2] / "docs" / "databases.md"


@pytest.fixture
def worker_url(postgres_url: str, postgres_server: PostgresServer):
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute("CREATE ROLE t2f_worker LOGIN PASSWORD 'x'")
    (grants,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    postgres_server.execute(grants, database=name)
    yield postgres_server.url(name, user="t2f_worker", password="x")
    postgres_server.execute("DROP OWNED BY t2f_worker", database=name)
    postgres_server.execute("DROP ROLE t2f_worker")


def test_a_worker_may_do_its_work_and_nothing_else(postgres_url, worker_url):
    owner, hired = Store(open_database(postgres_url)), Store(open_database(worker_url))
    sweep_id = begin_sweep(owner, trials=2)
    trials = trial_ids(owner, sweep_id)
    owner.demand(sweep_id, [wanted(trial, f"k{trial}") for trial in trials], priority=50)
    worker = hired.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    jobs = [owner.claim(worker, f"c{trial}", lease_seconds=60) for trial in trials]
    start(hired, jobs[0])
    hired.worker_beat(worker, {"kind": "train"}, {})
    hired.beat(jobs[0].stage_run_id, 1, images=8, images_per_second=1.0, lease_seconds=60)
    hired.add_curves(jobs[0].stage_run_id, 1, [("loss", 8, 1.0)])
    hired.add_curves(jobs[0].stage_run_id, 1, [("loss", 8, 2.0)])
    hired.add_checkpoint(jobs[0].stage_run_id, 1, images=8, uri="u", sha256="s", num_bytes=1)
    finish(hired, jobs[0])
    start(hired, jobs[1])
    hired.report_error(jobs[1].stage_run_id, 1, error="x", infrastructure=True, progressed=False)
    owner.request_evaluations([(jobs[0].stage_run_id, "e", {})], priority=50)
    measuring = owner.claim(worker, "e", lease_seconds=60)
    start(hired, measuring)
    finish(hired, measuring)
    hired.end_worker(worker)
    with owner.database.read.begin() as connection:
        outcomes = sorted(connection.scalars(t.attempts.select().with_only_columns(t.attempts.c.outcome)))
    assert outcomes == [Outcome.DONE, Outcome.INFRASTRUCTURE]
    for act in (
        lambda: hired.claim(worker, "mine", lease_seconds=60),
        lambda: hired.cancel_sweep(sweep_id, reason="mine"),
        lambda: begin_sweep(hired, "mine"),
        lambda: hired.demand(sweep_id, [wanted(trials[0], "mine")], priority=50),
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            act()
    owner.database.close()
    hired.database.close()
