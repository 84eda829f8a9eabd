"""Every write to the database, each in one short transaction; `reads.py` has what the pages and the loop look at.

The rules that hold under any crash:

- A stage run's `attempt` is its fencing token. A claim raises it; whatever a worker writes carries the number it was
  given, and is refused with `StaleAttempt` once another attempt has begun or the lease was taken away.
- Leases end by the database's clock.
- A state changes only together with its row in `events`; which changes are legal, triggers know (`states.MOVES`).
"""

from scheduler.store.choices import ChoiceWrites
from scheduler.store.claims import ClaimWrites
from scheduler.store.deliveries import Delivery, DeliveryState, DeliveryWrites
from scheduler.store.leading import LeaderWrites
from scheduler.store.models import ModelWrites
from scheduler.store.own_loop import OwnLoopWrites
from scheduler.store.preempting import PreemptWrites
from scheduler.store.retention import RetentionWrites
from scheduler.store.rows import (
    Assignment,
    CheckpointRow,
    Claimant,
    Demand,
    Fork,
    NewTrial,
    Orders,
    RetryBudget,
    Seal,
    StaleAttempt,
    Start,
    init_uri,
)
from scheduler.store.workers import WorkerWrites

__all__ = [
    "Assignment",
    "CheckpointRow",
    "Claimant",
    "Delivery",
    "DeliveryState",
    "Demand",
    "Fork",
    "NewTrial",
    "Orders",
    "RetryBudget",
    "Seal",
    "StaleAttempt",
    "Start",
    "Store",
    "init_uri",
]


class Store(
    RetentionWrites,
    ChoiceWrites,
    ClaimWrites,
    PreemptWrites,
    WorkerWrites,
    LeaderWrites,
    ModelWrites,
    DeliveryWrites,
    OwnLoopWrites,
):
    """The writing side of one database; each file of this package has the writes of one subject."""
