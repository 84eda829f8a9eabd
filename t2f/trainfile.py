"""The part of a sweep file that says what is trained; `t2f train` reads a file of which this is all.

A parameter that is a constant is a setting with one value. Sections are read by small functions, each of which names
the field, what was given and what is allowed.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2f.data import PreparedData
from t2f.errors import SpecError
from t2f.probe import NO_CAPTIONS, EvaluationSpec
from t2f.settings import PLANS, PRESETS, Settings, Value, checked_value, require_setting, scope_of
from t2f.spec import MINILM, RESOLUTIONS, SentenceSpec, StagePlan, TrainingSpec
from t2f.yamlfile import LinedDict, parse_value, read_yaml

TRAINING_KEYS = ("name", "data", "seed", "preset", "init_from", "sentence_encoder", "stages", "parameters", "probe")


@dataclass(frozen=True, kw_only=True)
class StagesSection:
    """The plan as written: lengths in images, or in epochs of a data set that is not yet known."""

    resolutions: tuple[int, ...]
    images: tuple[int, ...] | None
    epochs: tuple[float, ...] | None
    fade: tuple[float, ...]
    batch: tuple[int, ...]

    def plan(self, train_images: int) -> StagePlan:
        """The plan in images, for a training split of so many."""
        images = self.images or tuple(max(1, round(epochs * train_images)) for epochs in self.epochs or ())
        return StagePlan(resolutions=self.resolutions, images=images, fade=self.fade, batch=self.batch)


@dataclass(frozen=True, kw_only=True)
class ProbeSection:
    captions: tuple[str, ...] = ()  # empty: the first of the validation split, if it has any
    seeds: int = 8
    images: int = 500

    def evaluation(self, data: PreparedData, judge_sha256: str) -> EvaluationSpec:
        """What is measured and drawn at each stage's end, on this data."""
        split = "validation" if data.split("validation").size >= 2 else "train"
        held_out = data.split(split)
        first = tuple(held_out.captions[held_out.caption_offsets[image]] for image in held_out.captioned_N[:8])
        return EvaluationSpec(
            captions=self.captions or first or NO_CAPTIONS,
            seeds=self.seeds,
            num_images=self.images,
            split=split,
            data_key=data.key,
            judge_sha256=judge_sha256,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingFile:
    name: str
    dataset: str
    seed: int
    preset: str
    stages: StagesSection
    probe: ProbeSection
    values: Mapping[str, Value] = field(default_factory=dict)  # setting -> its constant
    late: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)
    init_from: Path | None = None  # a model bundle that new layers start from
    sentence_encoder: str = MINILM  # for text.encoder: sentence

    def training(
        self, data: PreparedData, *, init_sha256: str | None = None, sentence: SentenceSpec | None = None
    ) -> TrainingSpec:
        """The whole training on this data; the others are what `init_from` and `sentence_encoder` turn out to be."""
        return TrainingSpec(
            data_key=data.key,
            seed=self.seed,
            plan=self.stages.plan(data.split("train").size),
            settings=Settings().with_values({**PRESETS[self.preset], **self.values}),
            late=self.late,
            init_sha256=init_sha256,
            sentence=sentence,
        )


def read_training_file(path: Path, overrides: Iterable[str] = ()) -> TrainingFile:
    """A training file, with `NAME=VALUE` overrides of its parameters."""
    content, _ = read_yaml(path)
    with_source = Section(content, str(path))
    foreign = set(content) - set(TRAINING_KEYS)
    sweep_keys = ("method", "metric", "early_terminate", "branch", "grow", "replicate")
    sweep_keys += ("budget", "resources", "retry", "checkpoint")
    if foreign & set(sweep_keys):
        raise SpecError(
            f"{path}: {sorted(foreign & set(sweep_keys))[0]!r} belongs to a sweep; run `t2f sweep submit {path}`, "
            "or remove it to train one model"
        )
    with_source.only(TRAINING_KEYS)
    parameters = dict(with_source.mapping("parameters"))
    parameters |= dict(map(read_override, overrides))
    preset = read_preset(with_source)
    stages = read_stages(with_source, preset)
    values: dict[str, Value] = {}
    late: dict[int, dict[str, Value]] = {}
    for name, written in parameters.items():
        section = parameter_section(with_source, name, written)
        with section.naming():
            require_setting(name)
            if "per_stage" in section.content:
                first, *rest = read_per_stage(name, section, stages)
                values[name] = first
                for resolution, value in zip(stages.resolutions[1:], rest, strict=True):
                    late.setdefault(resolution, {})[name] = value
                continue
            value, from_stage = constant(section)
            if from_stage is None:
                values[name] = checked_value(name, value)
            else:
                late.setdefault(from_stage, {})[name] = checked_value(name, value)
    return TrainingFile(
        name=read_name(with_source),
        dataset=read_dataset(with_source),
        seed=with_source.whole("seed", default=0, low=0, high=2**32 - 1),
        preset=preset,
        stages=stages,
        probe=read_probe(with_source, path.parent),
        values=values,
        late=late,
        init_from=read_init_from(with_source, path.parent),
        sentence_encoder=read_sentence_encoder(with_source, path.parent),
    )


def read_override(override: str) -> tuple[str, Any]:
    """A setting's full name and the value it is given, from NAME=VALUE; the value is read as YAML."""
    name, equals, value = override.partition("=")
    if not equals:
        raise SpecError(f"--set {override!r} is not allowed; write --set NAME=VALUE")
    return require_setting(name.strip()), parse_value(value, source=f"--set {override}")


def read_preset(file: "Section") -> str:
    return file.choice("preset", tuple(PRESETS), default="article")


def read_init_from(file: "Section", folder: Path) -> Path | None:
    """The model bundle that new layers start from; a relative path starts at the file's own folder."""
    if "init_from" not in file.content:
        return None
    path = folder / file.text("init_from")
    if not path.is_file():
        raise SpecError(
            f"{file.at('init_from')}: {path} does not exist; give a model bundle, such as the one that "
            "`t2f best SWEEP` names"
        )
    return path


def read_sentence_encoder(file: "Section", folder: Path) -> str:
    """ "minilm", the installed package, or an encoder's folder; a relative path starts at the file's own folder."""
    if "sentence_encoder" not in file.content or file.content["sentence_encoder"] == MINILM:
        return MINILM
    path = (folder / file.text("sentence_encoder")).resolve()
    if not path.is_dir():
        raise SpecError(
            f"{file.at('sentence_encoder')}: {path} is no folder; give {MINILM!r}, or a folder with config.json, "
            "vocab.txt and model.safetensors"
        )
    return str(path)


def parameter_section(file: "Section", name: str, written: Any) -> "Section":
    """One of `parameters`; a plain value is that of the key `value`."""
    content = written if isinstance(written, dict) else {"value": written}
    return file.below(content, f"parameters.{name}", line=file.section("parameters").line_of(name))


def read_per_stage(name: str, section: "Section", stages: StagesSection) -> tuple[Value, ...]:
    """The values of {per_stage: [...]}, one for each stage."""
    section.only(("per_stage",))
    values, count = section.content["per_stage"], len(stages.resolutions)
    if scope_of(name) == "architecture":
        raise SpecError(f"{section.where}: {name} decides the shape of the weights, so one value holds for all stages")
    if not isinstance(values, list) or len(values) != count:
        raise SpecError(
            f"{section.at('per_stage')} = {values!r} is not allowed; give a list of {count} values, one for each of "
            f"{', '.join(map(str, stages.resolutions))} px"
        )
    return tuple(checked_value(name, value) for value in values)


def constant(section: "Section") -> tuple[Any, int | None]:
    """The value of a parameter that is written as one, with or without `from_stage`."""
    if "value" not in section.content:
        raise SpecError(
            f"{section.where} has no single value; give {{value: x}} or --set NAME=VALUE, or try its values with "
            "`t2f sweep submit`"
        )
    section.only(("value", "from_stage"))
    from_stage = None
    if "from_stage" in section.content:
        from_stage = section.whole("from_stage", low=4, high=RESOLUTIONS[-1])
    return section.content["value"], from_stage


@contextmanager
def naming(source: str, where: str | None = None) -> Iterator[None]:
    """Put the file, and where in it, before the message of an error that does not name the file."""
    try:
        yield
    except SpecError as error:
        if str(error).startswith(source):
            raise
        raise SpecError(f"{where or source}: {error}") from error


class Section:
    """One mapping of a file, read field by field; every error says where, what was given and what is allowed.

    source: the file, as errors call it. path: of the mapping in it, in words. line: where it stands, if that is known.
    """

    def __init__(self, content: Mapping[str, Any], source: str, path: str = "", line: int | None = None) -> None:
        self.content, self.source, self.path, self.line = content, source, path, line

    def line_of(self, key: str) -> int | None:
        """The line that a key stands in; of one that is not there, the line of the mapping."""
        return self.content.lines.get(key, self.line) if isinstance(self.content, LinedDict) else self.line

    def at(self, key: str) -> str:
        """File, line and path of a key, as messages begin: `sweep.yaml, line 7: stages: batch`."""
        return self._place(self.line_of(key), self.path, key)

    def beside(self, key: str) -> str:
        """File and line of a key, and the path of the mapping that it stands in."""
        return self._place(self.line_of(key), self.path)

    @property
    def where(self) -> str:
        """File, line and path of the mapping."""
        return self._place(self.line, self.path)

    def _place(self, line: int | None, *path: str) -> str:
        file = self.source if line is None else f"{self.source}, line {line}"
        return ": ".join((file, *filter(None, path)))

    def naming(self) -> AbstractContextManager[None]:
        """Errors that do not name the file are about this mapping."""
        return naming(self.source, self.where)

    def below(self, content: Mapping[str, Any], path: str, *, line: int | None = None) -> "Section":
        """A mapping inside this one; `path` is what leads to it from here."""
        if line is None:
            line = content.line if isinstance(content, LinedDict) else self.line
        return Section(content, self.source, ": ".join(filter(None, (self.path, path))), line)

    def only(self, allowed: tuple[str, ...], *, later: Mapping[str, str] | None = None) -> None:
        """Refuse every other key, with the nearest allowed one; `later` names words of versions to come."""
        for key in self.content:
            if key in allowed:
                continue
            if later and key in later:
                raise SpecError(f"{self.beside(key)}: {key!r} {later[key]}")
            near = difflib.get_close_matches(str(key), allowed, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise SpecError(f"{self.beside(key)}: unknown key {key!r}{hint} Allowed: {', '.join(allowed)}")

    def _missing(self, key: str, kind: str) -> SpecError:
        return SpecError(f"{self.where}: {key!r} is missing; it must be {kind}")

    def _wrong(self, key: str, kind: str) -> SpecError:
        return SpecError(f"{self.at(key)} = {self.content[key]!r} is not allowed; it must be {kind}")

    def mapping(self, key: str, *, required: bool = False) -> Mapping[str, Any]:
        kind = "a mapping of 'key: value' lines"
        if key not in self.content or self.content[key] is None:
            if required:
                raise self._missing(key, kind)
            return {}
        if not isinstance(self.content[key], dict):
            raise self._wrong(key, kind)
        return self.content[key]

    def section(self, key: str, *, required: bool = False) -> "Section":
        return self.below(self.mapping(key, required=required), key, line=self.line_of(key))

    def text(self, key: str) -> str:
        if key not in self.content:
            raise self._missing(key, "text")
        if not isinstance(self.content[key], str) or not self.content[key].strip():
            raise self._wrong(key, "text")
        return self.content[key]

    def choice(self, key: str, allowed: tuple[str, ...], *, default: str) -> str:
        value = self.content.get(key, default)
        if value not in allowed:
            near = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SpecError(f"{self._wrong(key, 'one of ' + ', '.join(allowed))}{hint}")
        return value

    def number(self, key: str, *, default: float | None = None, low: float, high: float) -> float:
        value = self.content.get(key, default)
        kind = f"a number from {low:g} to {high:g}"
        if value is None:
            raise self._missing(key, kind)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._wrong(key, kind)
        return value

    def whole(self, key: str, *, default: int | None = None, low: int, high: int) -> int:
        value = self.content.get(key, default)
        kind = f"a whole number from {low} to {high}"
        if value is None:
            raise self._missing(key, kind)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, kind)
        return value

    def numbers(self, key: str, *, count: int, default: tuple[float, ...] | None = None) -> tuple[Any, ...]:
        """One number for each stage; a single one stands for all."""
        if key not in self.content and default is not None:
            return default
        value = self.content.get(key)
        if value is None:
            raise self._missing(key, f"a list of {count} numbers, one a stage")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value,) * count
        is_list = isinstance(value, list) and all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in value
        )
        if not is_list:
            raise self._wrong(key, f"a number, or a list of {count} numbers, one a stage")
        return tuple(value)


def read_name(file: Section) -> str:
    """The sweep's name, which is part of addresses and of trials' names."""
    name = file.text("name")
    allowed = len(name) <= 100 and all(c.isalnum() or c in "-_." for c in name) and name[0] not in "-."
    if not allowed:
        raise SpecError(f"{file.at('name')} = {name!r} is not allowed; use up to 100 letters, digits, '-', '_' and '.'")
    return name


def read_dataset(file: Section) -> str:
    data = file.section("data", required=True)
    data.only(
        ("dataset",), later={"root": "is not supported; run `t2f data prepare ROOT --name NAME` and give dataset: NAME"}
    )
    return data.text("dataset")


def read_stages(file: Section, preset: str) -> StagesSection:
    """The plan; its lengths are given as kimg (thousands), images or epochs, or are the preset's."""
    stages = file.section("stages", required=True)
    stages.only(("resolutions", "kimg", "images", "epochs", "fade", "batch"))
    resolutions = stages.content.get("resolutions")
    if not isinstance(resolutions, list) or not resolutions:
        raise SpecError(
            f"{stages.at('resolutions')} = {resolutions!r} is not allowed; it must be a list such as [4, 8, 16, 32]"
        )
    count = len(resolutions)
    given = [unit for unit in ("kimg", "images", "epochs") if unit in stages.content]
    if len(given) > 1:
        raise SpecError(f"{stages.where}: give the lengths once, as one of kimg, images or epochs; given: {given}")
    images, epochs = _read_lengths(stages, given[0], count) if given else _planned_lengths(preset, count)
    section = StagesSection(
        resolutions=tuple(resolutions),
        images=images,
        epochs=epochs,
        fade=stages.numbers("fade", count=count, default=planned(preset, "fade", count)),
        batch=stages.numbers("batch", count=count, default=planned(preset, "batch", count)),
    )
    with stages.naming():
        section.plan(train_images=1000)  # checks everything that does not need the data
    return section


def planned(preset: str, what: str, count: int) -> tuple[float, ...] | None:
    """What the preset plans for the first `count` stages; None where it says nothing of it."""
    values = PLANS[preset].get(what)
    return None if values is None else tuple(values[min(index, len(values) - 1)] for index in range(count))


Lengths = tuple[tuple[int, ...] | None, tuple[float, ...] | None]  # images, epochs: one of them


def _planned_lengths(preset: str, count: int) -> Lengths:
    return planned(preset, "images", count), planned(preset, "epochs", count)  # type: ignore[return-value]


def _read_lengths(stages: Section, unit: str, count: int) -> Lengths:
    lengths = stages.numbers(unit, count=count)
    if unit == "epochs":
        if not all(0 < value <= 1e6 for value in lengths):
            raise SpecError(f"{stages.at('epochs')} = {list(lengths)} is not allowed; give numbers from 0 to 1e6")
        return None, lengths
    scaled = [value * (1000 if unit == "kimg" else 1) for value in lengths]
    if not all(math.isfinite(value) and abs(value - round(value)) < 1e-6 for value in scaled):
        raise SpecError(f"{stages.at(unit)} = {list(lengths)} is not allowed; give whole numbers of images")
    return tuple(round(value) for value in scaled), None


def read_probe(file: Section, folder: Path) -> ProbeSection:
    """The probe, its captions read and kept in the sweep."""
    probe = file.section("probe")
    probe.only(("captions", "seeds", "images"))
    written = probe.content.get("captions", [])
    if isinstance(written, str):
        path = folder / written
        try:
            written = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{probe.at('captions')}: {path} cannot be read: {error}") from error
    is_list = isinstance(written, list) and all(isinstance(one, str) and 0 < len(one) <= 2000 for one in written)
    if not is_list or len(written) > 256:
        raise SpecError(
            f"{probe.at('captions')} must be a file or a list of up to 256 sentences, given {written!r:.200}"
        )
    return ProbeSection(
        captions=tuple(written),
        seeds=probe.whole("seeds", default=8, low=1, high=64),
        images=probe.whole("images", default=500, low=16, high=100_000),
    )
