"""A page that shows each caption before and after cleaning: one HTML file that needs nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from t2f.data.cleaning.cleaner import Cleaned
from t2f.data.cleaning.rules import CATEGORIES
from t2f.data.cleaning.source import CaptionChange

MAX_SHOWN = 5000  # captions; a browser shows more only slowly
_HERE = Path(__file__).parent
_REASONS = (*CATEGORIES, "too short")


def review_page(changes: Sequence[CaptionChange], counts: Mapping[str, Any], *, title: str) -> str:
    """The page; of more than MAX_SHOWN captions it shows so many from all over.

    counts: what `CleanedSource.counts` gave, with mode, rules and rules_sha256.
    """
    shown = changes[:: -(-len(changes) // MAX_SHOWN)] if len(changes) > MAX_SHOWN else changes
    script = (_HERE / "review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    of_all = "" if len(shown) == len(changes) else f"Of {len(changes):,} changed captions {len(shown):,} are shown. "
    return Template((_HERE / "review.html").read_text(encoding="utf-8")).substitute(
        # Whatever a caption holds, nothing but this one script runs and nothing is fetched.
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        title=escape(title),
        mode=escape(counts["mode"]),
        summary=f"{counts['captions']:,} captions: {counts['changed']:,} changed, {counts['rejected']:,} rejected, the "
        f"others as they were. {counts['images_without_captions_left']:,} images lost all their captions.",
        note=f"{of_all}Struck through is what goes, coloured by its category; underlined is what stands there instead. "
        f"Rules: {escape(counts['rules'])}, {counts['rules_sha256'][:12]}.",
        colours="\n".join(_colour(category, place) for place, category in enumerate(CATEGORIES)),
        filters="".join(_filter(category, counts) for category in _REASONS),
        rows="\n".join(_row(change) for change in shown),
        script=script,
    )


def marked(cleaned: Cleaned) -> str:
    """The caption as HTML, what went struck through with its category, what stands there instead after it."""
    owners: list[int | None] = [None] * len(cleaned.mended)
    for number, removal in enumerate(cleaned.removals):
        for place in range(removal.start, removal.end):
            owner = owners[place]
            if owner is None or cleaned.removals[owner].instead:
                owners[place] = number
    parts, place = [], 0
    for owner, letters in groupby(owners):
        end = place + len(list(letters))
        text = escape(cleaned.mended[place:end])
        if owner is not None:
            removal = cleaned.removals[owner]
            text = f'<del class="{_css(removal.category)}" title="{removal.category}">{text}</del>'
            if removal.instead and end == removal.end:
                text += f" <ins>{escape(removal.instead)}</ins>"
        parts.append(text)
        place = end
    return "".join(parts)


def _row(change: CaptionChange) -> str:
    cleaned = change.cleaned
    categories = {removal.category for removal in cleaned.removals} | ({cleaned.reason} - {""})
    if cleaned.text is None:
        after = f'<p class="after rejected">rejected: {escape(cleaned.reason)}</p>'
    else:
        after = f'<p class="after">{escape(cleaned.text)}</p>'
    return (
        f'<article data-categories="{"|".join(sorted(categories))}"><p class="before">{marked(cleaned)}</p>{after}'
        f'<p class="image">{escape(change.image_id)}</p></article>'
    )


def _filter(category: str, counts: Mapping[str, Any]) -> str:
    number = max(counts["removed"].get(category, 0), counts["reasons"].get(category, 0))
    if not number:
        return ""
    return f'<button data-category="{category}" aria-pressed="false">{category} {number:,}</button>'


def _colour(category: str, place: int) -> str:
    hue = round(360 * place / len(CATEGORIES))
    return f".{_css(category)} {{ background: hsl({hue} 70% 50% / .28); text-decoration-color: hsl({hue} 80% 40%); }}"


def _css(category: str) -> str:
    return category.replace(" ", "-")
