"""The stages of a sweep's trials, many at a time: what trials have in common is worked out once.

A trial's stage takes 200 us to build and to hash, and a sweep may have 100,000 trials that differ in a few numbers. So
each stage has a *form*: the text that its key is the hash of, and the JSON of its recipe, with gaps where those numbers
stand. `StageForms.stage` fills the gaps in; the outcome is that of `SearchSpace.stages` and `stage_keys`, letter by
letter, which a test holds.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from scheduler.jsontext import JsonText
from scheduler.space import NONE, Deviation, SearchSpace
from t2f.settings import SETTINGS, Value, checked_value, scope_of
from t2f.spec import StageSpec, canonical

MAX_FORMS = 2048  # of one sweep; more distinct ones are built again
_GAP = re.compile(r'"@gap ([a-z0-9_.]+)@"')
_PARENT = "parent"
# Settings that decide whether others have an effect: their values decide what the text is made of.
CONDITIONS = frozenset(other for setting in SETTINGS.values() for other in setting.metadata["when"])


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one trial: its key, and its recipe as JSON text."""

    key: str
    spec: JsonText
    resolution: int
    images: int


@dataclass(frozen=True, kw_only=True)
class _Form:
    """Pieces of text and, between them, the names of what fills the gaps."""

    key: tuple[str, ...]
    spec: tuple[str, ...]
    gaps: tuple[str, ...]  # that the key has, besides the parent's
    key_hash: int  # of the key's text between the gaps
    defaults: Mapping[str, float]  # of the gaps, where a trial gives no value at this stage
    resolution: int
    images: int


class StageForms:
    """The stages of all trials of one search space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._forms: dict[tuple[tuple[str, Value], ...], tuple[_Form, ...]] = {}

    @cached_property
    def _begins(self) -> Mapping[str, int]:
        """Parameters that only fill gaps -> the first resolution at which they hold.

        A number of the training that no other setting's effect and no check across settings depends on.
        """
        return {
            parameter.name: parameter.from_stage or 0
            for parameter in self._space.parameters
            if SETTINGS[parameter.name].type is float
            and scope_of(parameter.name) == "training"
            and parameter.name not in CONDITIONS
            and not parameter.later
        }

    def stage(
        self, chosen: Mapping[str, Value], index: int, parent_key: str | None, deviation: Deviation = NONE
    ) -> Stage:
        """Stage `index` of the trial with these parameters, on top of the stage run with that key."""
        if deviation != NONE:
            stage = self._space.stages(chosen, deviation)[index]
            return Stage(
                key=stage.key(parent_key),
                spec=JsonText(json.dumps(stage.to_json())),
                resolution=stage.resolution,
                images=stage.images,
            )
        form = self._all_forms(chosen)[index]
        values = {_PARENT: "null" if parent_key is None else json.dumps(parent_key)}
        for name, begins in self._begins.items():
            holds = name in chosen and begins <= form.resolution
            values[name] = repr(checked_value(name, chosen[name]) if holds else form.defaults[name])
        text = _filled(form.key, values)
        return Stage(
            key=hashlib.sha256(text.encode()).hexdigest(),
            spec=JsonText(_filled(form.spec, values)),
            resolution=form.resolution,
            images=form.images,
        )

    def nodes(
        self, chosen: Mapping[str, Value], root: str | None = None, deviation: Deviation = NONE
    ) -> Iterator[tuple[int, int, int]]:
        """(node, resolution, images) of each stage of a trial; trials share a stage run exactly if they share the node.

        Nodes are 64-bit hashes of what keys are made from, a tenth of a key's cost; two among 100,000 trials collide
        with a probability of 1e-8, and only counting rests on it.
        """
        node = hash(root)
        if deviation != NONE:
            for stage in self._space.stages(chosen, deviation):
                node = hash((node, canonical(stage.key_fields())))
                yield node, stage.resolution, stage.images
            return
        for form in self._all_forms(chosen):
            own = [
                chosen[name] if name in chosen and self._begins[name] <= form.resolution else form.defaults[name]
                for name in form.gaps
            ]
            node = hash((node, form.key_hash, *own))
            yield node, form.resolution, form.images

    def _all_forms(self, chosen: Mapping[str, Value]) -> tuple[_Form, ...]:
        fixed = tuple((name, value) for name, value in chosen.items() if name not in self._begins)
        found = self._forms.get(fixed)
        if found is None:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            found = tuple(_form(stage, self._begins) for stage in self._space.stages(dict(fixed)))
            self._forms[fixed] = found
        return found


def _form(stage: StageSpec, gaps: Mapping[str, int]) -> _Form:
    fields = stage.key_fields()
    training = {name: f"@gap {name}@" if name in gaps else value for name, value in fields["training"].items()}
    text = canonical({"parent": f"@gap {_PARENT}@", **fields, "training": training})
    stored = stage.to_json()
    settings = {name: f"@gap {name}@" if name in gaps else value for name, value in stored["settings"].items()}
    key = tuple(_GAP.split(text))
    return _Form(
        key=key,
        gaps=tuple(name for name in key[1::2] if name != _PARENT),
        key_hash=hash(key),
        spec=tuple(_GAP.split(json.dumps({**stored, "settings": settings}))),
        defaults={name: stored["settings"][name] for name in gaps},
        resolution=stage.resolution,
        images=stage.images,
    )


def _filled(pieces: tuple[str, ...], values: Mapping[str, str]) -> str:
    filled = list(pieces)
    filled[1::2] = [values[name] for name in pieces[1::2]]
    return "".join(filled)
