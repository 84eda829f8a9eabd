"""What an evaluation measures and draws, and the key that names it. No torch in here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from t2f.errors import SpecError
from t2f.spec import digest

# Raised whenever the same evaluation of the same weights would give other figures than before.
METRIC_VERSION = 2
# In place of a judge's hash where the data has no captions: there is nothing to judge, and the score is the fidelity.
NO_JUDGE = "none"
# The one row of the wall where there are no captions: faces of noise alone.
NO_CAPTIONS = ("",)


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """Frozen reference, captions and noise: two stage runs are comparable exactly if these agree.

    key = H(probe, reference split, judge, metric version, N)
    """

    captions: tuple[str, ...]  # of the probe: each is a row of the wall of samples
    seeds: int  # noise vectors a caption: each is a column
    num_images: int  # faces that the metrics look at, each for a caption of the reference split
    split: str
    data_key: str
    judge_sha256: str
    metric_version: int = METRIC_VERSION

    def __post_init__(self) -> None:
        if not 1 <= len(self.captions) <= 256:
            raise SpecError(f"probe.captions holds {len(self.captions)} sentences; give 1 to 256")
        if self.judge_sha256 == NO_JUDGE:
            if self.captions != NO_CAPTIONS:
                raise SpecError(
                    f"probe.captions = {list(self.captions)!r:.200} is not allowed for data without captions, whose "
                    "models draw from noise alone; leave probe.captions out"
                )
        elif not all(caption.strip() for caption in self.captions):
            raise SpecError("probe.captions holds a sentence without words; describe a face, or remove it")
        if not 1 <= self.seeds <= 64:
            raise SpecError(f"probe.seeds = {self.seeds} is not allowed; it must be a whole number from 1 to 64")
        if not 16 <= self.num_images <= 100_000:
            raise SpecError(f"probe.images = {self.num_images} is not allowed; it must be from 16 to 100000")

    @property
    def key(self) -> str:
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "captions": list(self.captions)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "EvaluationSpec":
        return cls(**{**stored, "captions": tuple(stored["captions"])})
