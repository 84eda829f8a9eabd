"""What OpenMP reads from the environment when torch is imported. No torch in here."""

import os


def quiet_threads() -> None:
    """Make waiting threads sleep: where processes share cores, spinning ones take them from those that work."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
