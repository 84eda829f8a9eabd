"""Which idle worker gets what, on a real queue, and how many claims that takes."""

from dataclasses import dataclass, field

import pytest

from scheduler.dispatching import assignments, may_preempt
from scheduler.store import claims
from tests.scheduler.acting import claim
from tests.scheduler.test_queue import A100, H100, owner, queued  # noqa: F401 - a fixture


@dataclass
class Idle:
    worker_id: int
    labels: dict[str, str] = field(default_factory=dict)
    last_stage_run: int | None = None


@pytest.fixture
def hire(store):
    numbers = iter(range(100))

    def do(labels: dict[str, str] | None = None) -> Idle:
        labels = labels or {}
        name = f"w{next(numbers)}"
        values = {"name": name, "node": "n", "pid": 1, "device": "cpu", "share": 1.0, "labels": labels}
        return Idle(worker_id=store.register_worker(**values), labels=labels)

    return do


@pytest.fixture
def looks(monkeypatch) -> list[dict[str, str]]:
    """The labels of the workers that a stage run was looked for, once for each look at the queue."""
    made: list[dict[str, str]] = []
    choose_really = claims.choose_stage_runs

    def counting(connection, now, labels, *args, **values):
        made.append(labels)
        return choose_really(connection, now, labels, *args, **values)

    monkeypatch.setattr(claims, "choose_stage_runs", counting)
    return made


def given(store, idle: list[Idle]) -> dict[int, str]:
    """Worker -> the sweep that it works for."""
    return {worker.worker_id: owner(store, job) for worker, job in assignments(store, idle, lease_seconds=10)}


def test_one_that_gets_nothing_does_not_keep_the_others_from_their_work(store, queued, hire):  # noqa: F811
    queued("a", "labels: {pool: a100}")
    queued("h", "labels: {pool: h100}")
    idle = [hire(), hire({"pool": "tpu"}), hire(A100), hire(H100), hire(A100)]
    assert given(store, idle) == {idle[2].worker_id: "a", idle[3].worker_id: "h", idle[4].worker_id: "a"}


def test_workers_without_labels_come_first_so_that_the_others_are_left_to_who_wants_them(
    store,
    queued,  # noqa: F811
    hire,
):
    queued("anywhere", "max_workers: 1")
    queued("a", "labels: {pool: a100}, max_workers: 1")
    special, plain = hire(A100), hire()
    assert given(store, [special, plain]) == {plain.worker_id: "anywhere", special.worker_id: "a"}


def test_where_nothing_is_ready_one_look_for_each_kind_is_enough(store, hire, looks):
    assert given(store, [hire(), hire(), hire(A100), hire(), hire(A100)]) == {}
    assert looks == [{}, A100]


def test_one_look_in_vain_is_enough_where_all_are_alike(store, queued, hire, looks):  # noqa: F811
    queued("a", "labels: {pool: a100}")
    warm = hire()
    warm.last_stage_run = 1
    assert given(store, [*(hire() for _ in range(5)), warm]) == {}
    assert looks == [{}]


def test_many_workers_get_work_in_one_look(store, queued, hire, looks):  # noqa: F811
    queued("s")
    idle = [hire() for _ in range(6)]
    assert set(given(store, idle).values()) == {"s"}
    assert len(looks) <= 2  # the second one in vain


def test_the_stage_run_in_memory_is_named_in_the_claim(store, queued, hire):  # noqa: F811
    queued("s")
    warm = hire()
    first = claim(store, warm.worker_id)
    warm.last_stage_run = first.stage_run_id
    ((worker, job),) = assignments(store, [warm], lease_seconds=10)
    assert (worker, job.kind) == (warm, "train")


@pytest.mark.parametrize(
    ("idle", "busy", "expected"),
    [
        ([], [], False),
        ([], [{}], True),
        ([{}], [{}], False),
        ([{}], [A100], True),
        ([A100], [A100, H100], True),
        ([A100, H100], [A100, H100], False),
    ],
)
def test_who_could_be_freed(idle, busy, expected):
    assert may_preempt([Idle(0, one) for one in idle], [Idle(0, one) for one in busy]) == expected
