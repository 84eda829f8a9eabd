"""Names of models, and what a version comes from: NAME:3, NAME@champion, and the way back to the data."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scheduler import model_reads
from scheduler.database import Database
from scheduler.model_reads import AliasMove, Model, Source, TrainedStage
from t2f.errors import UserError

BEST = "best"  # the alias of a sweep's winner, which the scheduler alone moves
MAX_WORD = 50
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TRIAL = re.compile(r"T[0-9]+")


def checked_word(word: str, what: str) -> str:
    """An alias or a tag, which is part of names and addresses; UserError where it cannot be one.

    It starts with a letter, so that T3@16 stays the stage of 16 px.
    """
    if len(word) > MAX_WORD or not _WORD.fullmatch(word):
        raise UserError(
            f"the {what} {word!r:.80} is not allowed; use up to {MAX_WORD} letters, digits, '-', '_' and '.', "
            "a letter first"
        )
    return word


def checked_alias(alias: str) -> str:
    """An alias that people may move."""
    if checked_word(alias, "alias") == BEST:
        raise UserError(
            f"the alias {BEST!r} follows a sweep's ranking and is moved by the scheduler alone; use another one, such "
            "as champion"
        )
    return alias


def find_version(database: Database, word: str) -> Model | None:
    """The version that NAME:3, NAME@ALIAS or NAME (its best) means; None for a word that is of another form.

    UserError where the word is a model's and there is no such model, alias or version.
    """
    name, separator, rest = _parts(word)
    if "/" in word:
        return None
    versions = model_reads.models(database, name=name)
    if separator == "@" and (rest[:1].isdigit() or (_TRIAL.fullmatch(name) and not versions)):
        return None  # a trial's stage
    if not separator:
        if not versions:
            return None
        separator, rest = "@", BEST
    if not versions:
        names = ", ".join(sorted({model.name for model in model_reads.models(database)})[:20]) or "none yet"
        raise UserError(f"there is no model {name!r}; models: {names}")
    if separator == ":":
        found = [model for model in versions if str(model.version) == rest]
        there = ", ".join(str(model.version) for model in versions[:20])
        said = f"the model {name!r} has no version {rest!r}; there are: {there}"
    else:
        found = [model for model in versions if rest in model.aliases]
        there = ", ".join(sorted(alias for model in versions for alias in model.aliases)) or "none"
        said = f"the model {name!r} has no alias {rest!r}; its aliases: {there}"
    if not found:
        raise UserError(f"{said}; see `t2f model ls {name}`")
    return found[0]


def version(database: Database, word: str) -> Model:
    """As `find_version`; UserError where there is none."""
    found = find_version(database, word)
    if found is None:
        raise UserError(
            f"{word!r} is no version of a model; give NAME:VERSION or NAME@ALIAS, or NAME for its best; "
            "`t2f model ls` lists them, and `t2f promote TRIAL` makes one"
        )
    return found


def _parts(word: str) -> tuple[str, str, str]:
    for separator in ("@", ":"):
        name, found, rest = word.partition(separator)
        if found:
            return name, separator, rest
    return word, "", ""


# Lineage


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a version comes from: its stage runs, the trial, the sweep, the data, the code and the judge."""

    model: Model
    stages: tuple[TrainedStage, ...]  # from 4 px up
    source: Source
    history: tuple[AliasMove, ...]  # of the model's aliases

    @property
    def judge_sha256(self) -> str:
        return self.source.resolved["evaluation"]["judge_sha256"]

    @property
    def numerics(self) -> tuple[str, ...]:
        """The numerics classes that it was trained in; more than one is mixed numerics."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.numerics))

    def to_json(self) -> dict[str, Any]:
        code: Mapping[str, Any] = self.source.provenance
        return {
            **asdict(self.model),
            "aliases": list(self.model.aliases),
            "tags": list(self.model.tags),
            "stage_runs": [asdict(stage) for stage in self.stages],
            "trial": self.source.trial,
            "parameters": dict(self.source.parameters),
            "sweep": self.source.sweep,
            "submitted_by": self.source.submitted_by,
            "data": self.source.data_name,
            "data_key": self.source.data_key,
            "judge_sha256": self.judge_sha256,
            "commit": code.get("commit"),
            "dirty": code.get("dirty"),
            "packages": dict(code.get("packages", {})),
            "numerics": list(self.numerics),
            "alias_history": [asdict(move) for move in self.history],
        }


def lineage(database: Database, model: Model) -> Lineage:
    return Lineage(
        model=model,
        stages=tuple(model_reads.trained_stages(database, model.stage_run_id)),
        source=model_reads.source(database, model),
        history=tuple(model_reads.alias_moves(database, model.name)),
    )
