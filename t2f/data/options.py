"""How a source is prepared: what a user may choose, each choice checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from t2f.data.cleaning import Cleaning
from t2f.data.images import CropOptions
from t2f.data.readers import find_format
from t2f.errors import DataError

MAX_RESOLUTION = 1024


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How a source is prepared. Every field is part of the data key."""

    max_resolution: int = 64  # pixels; all powers of two from 4 up to it are written
    crop: CropOptions | None = None  # None: the format's own default
    validation_fraction: float = 0.1  # of the images, where the source names no splits
    test_fraction: float = 0.1
    split_seed: int = 0
    min_count: int = 2  # rarer words become the unknown word, which so gets something to learn from
    max_tokens: int = 100  # captions are cut after it
    on_bad_image: str = "fail"  # or "skip"
    cleaning: Cleaning | None = None  # of the captions; None: they are kept as they are

    def __post_init__(self) -> None:
        allowed = [2**power for power in range(2, MAX_RESOLUTION.bit_length())]
        if self.max_resolution not in allowed:
            _refuse("max_resolution", self.max_resolution, f"one of {', '.join(map(str, allowed))}")
        fractions = (self.validation_fraction, self.test_fraction)
        if not (all(0 <= fraction < 1 for fraction in fractions) and sum(fractions) < 1):
            _refuse("validation and test", fractions, "two shares from 0 to below 1, and below 1 together")
        for name, highest in (("split_seed", 2**32 - 1), ("min_count", 10**9), ("max_tokens", 10_000)):
            value, lowest = getattr(self, name), 0 if name == "split_seed" else 1
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
                _refuse(name, value, f"a whole number from {lowest} to {highest}")
        if self.on_bad_image not in ("fail", "skip"):
            _refuse("on_bad_image", self.on_bad_image, '"fail" or "skip"')

    @property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(2**power for power in range(2, self.max_resolution.bit_length()))

    def plain(self, format: str) -> dict[str, Any]:
        """What the manifest keeps: plain values, the format's own crop filled in."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["crop"] = str(self.crop or CropOptions.parse(find_format(format).crop))
        # Left out where nothing is cleaned, so that such data keeps the key that it always had.
        del plain["cleaning"]
        return plain if self.cleaning is None else plain | {"cleaning": self.cleaning.plain()}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "PrepareOptions":
        """The options that `plain` gave, but for the cleaning, of which it has the hash alone; DataError for others."""
        try:
            known = {name: value for name, value in plain.items() if name != "cleaning"}
            return cls(**{**known, "crop": CropOptions.parse(plain["crop"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise DataError(f"the options {dict(plain)!r:.200} are not those of this program ({error})") from None


def _refuse(name: str, value: object, allowed: str) -> None:
    raise DataError(f"{name} = {value!r} is not allowed; it must be {allowed}")


@dataclass(frozen=True, kw_only=True)
class Uncaptioned:
    """A folder of further pictures, without captions and all for training.

    They are no field of the options, so that data without them keeps the key that it always had.
    """

    folder: Path
    crop: CropOptions | None = None  # None: that of the source's pictures
