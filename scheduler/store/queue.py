"""The queue's order: which ready work a claim takes; each look is a seek in an index, however long the queue is.

1. Evaluations, since rungs wait for them.
2. Stage runs of the highest priority.
3. Of those, the sweep whose running stage runs hold the least of the devices for its `resources.share`, what it had too
   little of them so far, or too much, counted in (`scheduler.fair_share`); a sweep with `resources.max_workers` stage
   runs running is passed over, and so is one that wants a label (`resources.labels`) which the worker does not have. A
   stage run that several sweeps want counts for the one whose unpaused demand came first. Evaluations go to any worker.
4. The child of the stage run that the worker still holds in memory.
5. The longest way still to go, by forecast: what decides when the sweep ends.
6. The oldest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.labels import Labels, serves
from scheduler.many import is_among
from scheduler.states import ACTIVE, RunState, SweepState

CREDIT_SECONDS = 1.0  # of one device: with a credit of so many device seconds a sweep counts as if it held one less


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a sweep has ready and running."""

    sweep_id: int
    share: float  # its weight
    credit: float = 0.0  # device seconds that it had too little for its share so far; below 0: too much
    max_workers: int | None
    priority: int | None  # of its most urgent ready stage run; None: nothing is ready
    running: int  # stage runs
    devices: float  # that these hold
    labels: Labels = field(default_factory=dict)  # that it wants of a worker

    @property
    def wants_more(self) -> bool:
        return self.priority is not None and (self.max_workers is None or self.running < self.max_workers)


def fairest(standings: Sequence[Standing], labels: Labels, device: float = 1.0) -> Standing | None:
    """Whose turn it is on a worker with these labels that holds so much of a device.

    The highest priority, then the least of the devices for its share, then the oldest sweep. Where a sweep has had too
    little so far, it counts as if it held up to this worker less, and up to this worker more where it has had too much:
    so the devices are shared out as the shares say at any time, and what cannot be divided is shared out over time.
    """

    def held(one: Standing) -> float:
        return (one.devices - min(max(one.credit / CREDIT_SECONDS, -device), device)) / one.share

    able = [standing for standing in standings if standing.wants_more and serves(labels, standing.labels)]
    return min(able, key=lambda one: (-one.priority, held(one), one.sweep_id), default=None)


def turns(standings: Sequence[Standing], labels: Labels, shares: Sequence[float]) -> list[Standing]:
    """Whose turn it is on each of several workers with these labels, which have these shares of a device; the first
    ones get work, and each counts for the next."""
    left, found = {one.sweep_id: one for one in standings}, []
    for share in shares:
        turn = fairest(list(left.values()), labels, share)
        if turn is None:
            break
        found.append(turn)
        left[turn.sweep_id] = replace(turn, running=turn.running + 1, devices=turn.devices + share)
    return found


def choose_stage_runs(
    connection: sa.Connection, now: float, labels: Labels, shares: Sequence[float], warm_parent: int | None = None
) -> list[sa.Row]:
    """The stage runs that workers with these labels and shares are to claim, with what they must know of the sweep.

    The first workers get them. Fewer than workers where a sweep has less ready of its highest priority: once these
    are leased, ask again. warm_parent: of a single worker.
    """
    held: set[int] = set()
    while True:
        found = turns(standings(connection, now), labels, shares)
        limited = {turn.sweep_id for turn in found if turn.max_workers is not None} - held
        if not limited:
            break
        # Of two claims at once only one may take the last place: the other counts again once that one is through.
        connection.execute(_LOCK_SWEEPS, {"ids": sorted(limited)})
        held |= limited
    if warm_parent is not None and found:
        which = {"now": now, "sweep_id": found[0].sweep_id, "priority": found[0].priority, "count": 1}
        warm = connection.execute(_WARM, {**which, "parent_id": warm_parent}).all()
        if warm:
            return list(warm)
    wanted = Counter((turn.sweep_id, turn.priority) for turn in found)
    rows = {
        (sweep_id, priority): iter(
            connection.execute(_NEXT, {"now": now, "sweep_id": sweep_id, "priority": priority, "count": count}).all()
        )
        for (sweep_id, priority), count in wanted.items()
    }
    chosen = (next(rows[turn.sweep_id, turn.priority], None) for turn in found)
    return [row for row in chosen if row is not None]


def standings(connection: sa.Connection, now: float) -> list[Standing]:
    """The sweeps that are running or finish what they began."""
    return [
        Standing(
            sweep_id=row.id,
            share=row.share,
            credit=row.credit,
            max_workers=row.max_workers,
            priority=row.priority,
            running=row.running,
            devices=row.devices or 0.0,
            labels=row.labels,
        )
        for row in connection.execute(_STANDINGS, {"now": now})
    ]


def choose_evaluations(
    connection: sa.Connection, now: float, count: int, warm_stage_run: int | None = None
) -> list[sa.Row]:
    """The evaluations that so many workers are to claim, the most urgent ones.

    warm_stage_run: in the memory of a single worker; its evaluation comes before others.
    """
    chosen = list(connection.execute(_NEXT_EVALUATIONS, {"now": now, "count": count}))
    if warm_stage_run is None or not chosen or chosen[0].stage_run_id == warm_stage_run:
        return chosen
    which = {"now": now, "stage_run_id": warm_stage_run, "priority": chosen[0].priority}
    warm = connection.execute(_WARM_EVALUATION, which).first()
    return [warm] if warm else chosen


# Statements are made once: making one takes longer than running it.

_runs, _evaluations = t.stage_runs.c, t.evaluations.c
_now, _ready, _active = sa.bindparam("now"), str(RunState.READY), [str(state) for state in ACTIVE]

_is_ready = sa.and_(_runs.state == _ready, _runs.ready_at <= _now)
_STANDINGS = sa.select(
    t.sweeps.c.id,
    t.sweeps.c.share,
    t.sweeps.c.credit,
    t.sweeps.c.max_workers,
    t.sweeps.c.labels,
    sa.select(_runs.priority)
    .where(_is_ready, _runs.sweep_id == t.sweeps.c.id)
    .order_by(_runs.priority.desc())
    .limit(1)
    .scalar_subquery()
    .label("priority"),
    sa.select(sa.func.count())
    .where(_runs.state.in_(_active), _runs.sweep_id == t.sweeps.c.id)
    .scalar_subquery()
    .label("running"),
    sa.select(sa.func.sum(t.workers.c.share))
    .join(t.stage_runs, _runs.worker_id == t.workers.c.id)
    .where(_runs.state.in_(_active), _runs.sweep_id == t.sweeps.c.id)
    .scalar_subquery()
    .label("devices"),
).where(t.sweeps.c.state.in_([str(SweepState.RUNNING), str(SweepState.STOPPING)]))
_LOCK_SWEEPS = locked(sa.select(t.sweeps.c.id).where(is_among(t.sweeps.c.id)).order_by(t.sweeps.c.id))

# A stage run beside the sweep that it is trained for; which one that is, `where` says.
WITH_SWEEP = sa.select(
    t.stage_runs,
    t.sweeps.c.data_name,
    t.sweeps.c.resolved["checkpoint_seconds"].as_float().label("checkpoint_seconds"),
).select_from(t.stage_runs.join(t.sweeps, sa.true()))
_candidates = (
    WITH_SWEEP.where(
        _is_ready,
        _runs.sweep_id == sa.bindparam("sweep_id"),
        t.sweeps.c.id == sa.bindparam("sweep_id"),
        _runs.priority == sa.bindparam("priority"),
    )
    .order_by(_runs.remaining.desc(), _runs.id)
    .limit(sa.bindparam("count", type_=sa.Integer))
)
_NEXT = locked(_candidates, of=t.stage_runs, skip_locked=True)
_WARM = locked(_candidates.where(_runs.parent_id == sa.bindparam("parent_id")), of=t.stage_runs, skip_locked=True)

_evaluation_is_ready = sa.and_(_evaluations.state == _ready, _evaluations.ready_at <= _now)
_next_evaluations = (
    sa.select(t.evaluations)
    .where(_evaluation_is_ready)
    .order_by(_evaluations.priority.desc(), _evaluations.id)
    .limit(sa.bindparam("count", type_=sa.Integer))
)
_warm_evaluation = (
    sa.select(t.evaluations)
    .where(
        _evaluation_is_ready,
        _evaluations.stage_run_id == sa.bindparam("stage_run_id"),
        _evaluations.priority == sa.bindparam("priority"),
    )
    .order_by(_evaluations.id)
    .limit(1)
)
_NEXT_EVALUATIONS = locked(_next_evaluations, skip_locked=True)
_WARM_EVALUATION = locked(_warm_evaluation, skip_locked=True)
