"""Doing a transaction again where the database undid it."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from scheduler.postgres import passes_by_itself, pauses

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def repeated(act: Callable[P, T]) -> Callable[P, T]:
    """The act, done again after a deadlock, a serialisation failure, or while PostgreSQL is away; else it is as it was.

    The act is one transaction, and its arguments can be read twice (no iterators).
    """

    @functools.wraps(act)
    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        failed: DBAPIError | None = None
        for _ in pauses():
            try:
                return act(*args, **kwargs)
            except DBAPIError as error:
                if not passes_by_itself(error):
                    raise
                log.info("%s is done again: %s", act.__name__, error.orig)
                failed = error
        assert failed is not None
        raise failed

    return do
