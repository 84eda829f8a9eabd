"""How captions are to be cleaned: a mode and the rules."""

from dataclasses import dataclass, field

from t2f.data.cleaning.cleaner import MODES
from t2f.data.cleaning.rules import CleaningRules, load_rules
from t2f.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What captions are cleaned by; the same mode and lists give the same captions."""

    mode: str  # "light" or "strict"
    rules: CleaningRules = field(default_factory=load_rules)

    def __post_init__(self) -> None:
        if self.mode not in MODES[1:]:
            raise SpecError(f"the cleaning mode {self.mode!r} is not known; allowed: {', '.join(MODES)}")

    def plain(self) -> dict[str, str]:
        """What the data key covers."""
        return {"mode": self.mode, "rules_sha256": self.rules.sha256}
