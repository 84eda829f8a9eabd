"""Which idle worker gets what, on a real queue, and how many claims that takes."""

from dataclasses import dataclass, field

import pytest

from scheduler.dispatching import assignments, may_preempt
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
def claims(store, monkeypatch) -> list[int]:
    """The workers that something was claimed for, in vain or not."""
    made: list[int] = []
    claim_really = store.claim

    def counting(worker_id: int, *args, **values):
        made.append(worker_id)
        return claim_really(worker_id, *args, **values)

    monkeypatch.setattr(store, "claim", counting)
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


def test_where_nothing_is_ready_one_of_each_kind_asks(store, hire, claims):
    idle = [hire(), hire(), hire(A100), hire(), hire(A100)]
    assert given(store, idle) == {}
    assert claims == [idle[0].worker_id, idle[2].worker_id]


def test_one_claim_in_vain_is_enough_where_all_are_alike(store, queued, hire, claims):  # noqa: F811
    queued("a", "labels: {pool: a100}")
    idle = [hire() for _ in range(5)]
    assert given(store, idle) == {}
    assert claims == [idle[0].worker_id]


def test_no_claim_is_made_before_the_worker_before_has_its_work(store, queued, hire, claims):  # noqa: F811
    queued("s")
    asked = assignments(store, [hire(), hire()], lease_seconds=10)
    next(asked)
    assert len(claims) == 1


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
