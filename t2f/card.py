"""The model card: where a model comes from, how good it was found, and what it is not for. No torch in here.

A card is written into each bundle, so that the file says it wherever it goes, and is read without the weights
(model cards: arXiv:1810.03993).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2f.data import PreparedData
from t2f.description import read_description
from t2f.probe import EvaluationSpec

NOT_FOR = (
    "A photofit is a drawing, not evidence: it shows what a network makes of words, never a person. Two faces that "
    "look alike say nothing about two people.",
    "Do not use it to identify, accuse, search for or rule out anybody, to decide about anybody, or to pass a drawing "
    "off as a photograph.",
    "It has the leanings of its pictures and of those who described them: who is missing there is drawn badly, and "
    "words about origin, occupation or character draw a prejudice.",
)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a training knows of its data and its result; empty where a bundle was made without."""

    data: Mapping[str, Any] = field(default_factory=dict)  # name, key, source format, images and captions by split
    cleaning: Mapping[str, Any] = field(default_factory=dict)  # mode and hash of the rules that cleaned the captions
    scores: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # each with value, low, high and perhaps a note
    scored_on: Mapping[str, Any] = field(default_factory=dict)  # split, images, judge
    not_for: tuple[str, ...] = NOT_FOR

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "not_for": list(self.not_for)}


def card_of(data: PreparedData, *, scores: Mapping[str, Mapping[str, Any]], scored_on: Mapping[str, Any]) -> ModelCard:
    """The card of a model that was trained on this data and got these scores."""
    manifest = data.manifest
    return ModelCard(
        data={
            "name": data.name,
            "key": data.key,
            "format": manifest.get("format"),
            "splits": manifest.get("splits", {}),
            "uncaptioned": manifest.get("uncaptioned"),
        },
        cleaning=manifest.get("cleaning") or {"mode": "off"},
        scores=scores,
        scored_on=scored_on,
    )


def scored_on(probe: EvaluationSpec) -> dict[str, Any]:
    """What scores of this evaluation were measured on."""
    return {"split": probe.split, "num_images": probe.num_images, "judge_sha256": probe.judge_sha256}


def read_card(path: Path) -> dict[str, Any]:
    """The card of a bundle with what the file says of the model itself; CheckpointError where it is no whole bundle."""
    description = read_description(path)
    stage = description["stage"]
    settings = stage["settings"]
    return {
        "model": {
            "file": path.name,
            "resolution": stage["resolution"],
            "text_encoder": settings["text.encoder"],
            "words": len(description["vocabulary"]) - 2 if settings["text.encoder"] == "lstm" else None,
            "loss": settings["loss.name"],
            "images": stage["images"],
            "seed": stage["seed"],
            "weights_sha256": description["sha256"],
        },
        "lineage": description["lineage"],
        **description["card"],
    }


def card_text(card: Mapping[str, Any]) -> str:
    """The card in lines for people."""
    model, data, cleaning = card["model"], card["data"], card["cleaning"]
    knows = "" if model["words"] is None else f", knows {model['words']:,} words"
    lines = [
        f"{model['file']}: faces of {model['resolution']} px",
        f"  text encoder   {model['text_encoder']}{knows}",
        f"  last stage     {model['images']:,} images, loss {model['loss']}, seed {model['seed']}",
        f"  weights        {model['weights_sha256']}",
        *(f"  {name:14} {shown(value)}" for name, value in card["lineage"].items()),
        "",
        "Data",
        *(f"  {line}" for line in data_lines(data, cleaning)),
        "",
        "Scores",
        *(f"  {line}" for line in score_lines(card["scores"], card["scored_on"])),
        "",
        "What it must not be used for",
        *(f"  - {line}" for line in card["not_for"]),
    ]
    return "\n".join(lines)


def shown(value: Any) -> str:
    return ", ".join(str(part)[:12] for part in value) if isinstance(value, list) else str(value)


def data_lines(data: Mapping[str, Any], cleaning: Mapping[str, Any]) -> list[str]:
    """What the model has seen, a fact a line."""
    if not data:
        return ["not recorded"]
    lines = [f"{data['name']} ({data['format']}), key {data['key'][:12]}"]
    for split, counts in data["splits"].items():
        lines.append(f"{split}: {counts.get('images', 0):,} images, {counts.get('captions', 0):,} captions")
    if data["uncaptioned"]:
        lines.append(f"for training without captions: {data['uncaptioned'].get('used', 0):,} pictures")
    rules = next((cleaning[name] for name in ("sha256", "rules_sha256", "hash") if cleaning.get(name)), None)
    lines.append(f"captions cleaned: {cleaning.get('mode', 'not recorded')}{f', rules {rules[:12]}' if rules else ''}")
    return lines


def score_lines(scores: Mapping[str, Mapping[str, Any]], scored_on: Mapping[str, Any]) -> list[str]:
    """Each score with its interval, and what it was measured on."""
    if not scores:
        return ["not measured"]
    on = f"on {scored_on['num_images']:,} faces for captions of the {scored_on['split']} split" if scored_on else ""
    lines = [f"{on}; 95 % intervals"] if on else []
    for name, figure in scores.items():
        low, high = figure.get("low"), figure.get("high")
        interval = "" if low is None or high is None else f"  ({low:.3f} to {high:.3f})"
        note = f"  {figure['note']}" if figure.get("note") else ""
        lines.append(f"{name:24} {figure['value']:8.3f}{interval}{note}")
    return lines
