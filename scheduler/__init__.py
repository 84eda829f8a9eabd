"""Sweeps, their trials and their models. `from scheduler import Sweep` is the way in from Python (docs/python.md)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.api import Sweep, SweepFile

__all__ = ["Sweep", "SweepFile"]


def __getattr__(name: str) -> Any:
    # Whoever imports one module of this package must not wait for the database's and all others.
    if name in __all__:
        from scheduler import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
