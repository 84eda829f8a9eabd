"""Pretrained networks that the user brings, and that some metrics need."""

from collections.abc import Collection
from dataclasses import dataclass

from t2f.metrics.clip import Clip
from t2f.metrics.inception import Inception


@dataclass(frozen=True, kw_only=True, eq=False)
class Brought:
    inception: Inception | None = None
    clip: Clip | None = None

    def name(self, needs: Collection[str]) -> str:
        """Hashes of the networks among these needs: what was measured with them holds for them alone."""
        networks = {"inception": self.inception, "clip": self.clip}
        return "".join(f" {network.sha256}" for need, network in networks.items() if need in needs and network)


NOTHING = Brought()
