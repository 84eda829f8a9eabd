"""The captions of a whole source cleaned, counted and logged."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from t2f.data.cleaning.cleaner import Cleaned, clean
from t2f.data.cleaning.options import Cleaning
from t2f.data.readers import Example


@dataclass(frozen=True, kw_only=True)
class CaptionChange:
    """A caption that cleaning changed or rejected."""

    image_id: str
    before: str  # as the source has it
    cleaned: Cleaned

    def plain(self) -> dict[str, Any]:
        """A line of the log."""
        removals = [
            {"category": one.category, "what": one.what, "at": [one.start, one.end], "instead": one.instead}
            for one in self.cleaned.removals
        ]
        line = {"image": self.image_id, "before": self.before, "after": self.cleaned.text}
        return line | {"reason": self.cleaned.reason, "removals": removals}


@dataclass(frozen=True, kw_only=True)
class CleanedSource:
    """The examples with their clean captions, and all that was done to them."""

    examples: tuple[Example, ...]  # those that lost all their captions have none now
    changes: tuple[CaptionChange, ...]
    emptied: frozenset[str]  # images that lost all their captions
    captions: int  # how many there were
    repeated: int  # captions that became another one of the same image, and are kept once

    def counts(self) -> dict[str, Any]:
        """What the manifest says of the cleaning; categories by how many captions they concern."""
        removed: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        for change in self.changes:
            removed.update({removal.category for removal in change.cleaned.removals})
            rejected.update([change.cleaned.reason] if change.cleaned.text is None else [])
        return {
            "captions": self.captions,
            "changed": len(self.changes) - rejected.total(),
            "rejected": rejected.total(),
            "repeated": self.repeated,
            "removed": dict(removed.most_common()),
            "reasons": dict(rejected.most_common()),
            "images_without_captions_left": len(self.emptied),
        }


def clean_source(examples: Sequence[Example], cleaning: Cleaning) -> CleanedSource:
    """The examples of a source, their captions cleaned; of captions that became the same an image keeps one."""
    cleaned, changes, emptied, repeated = [], [], set(), 0
    for example in examples:
        captions = []
        for caption in example.captions:
            result = clean(caption, cleaning.mode, cleaning.rules)
            if result.text != caption:
                changes.append(CaptionChange(image_id=example.image_id, before=caption, cleaned=result))
            captions += [] if result.text is None else [result.text]
        kept = tuple(dict.fromkeys(captions))
        repeated += len(captions) - len(kept)
        if example.captions and not kept:
            emptied.add(example.image_id)
        cleaned.append(replace(example, captions=kept))
    return CleanedSource(
        examples=tuple(cleaned),
        changes=tuple(changes),
        emptied=frozenset(emptied),
        captions=sum(len(example.captions) for example in examples),
        repeated=repeated,
    )
