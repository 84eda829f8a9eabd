"""The demo faces and trainings of them, which the benchmarks of faces, words and figures share."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from t2f.checkpoint import load_tensors, save_tensors, write_durably
from t2f.data import PreparedData, PrepareOptions, prepare, render_demo
from t2f.errors import CheckpointError, DataError
from t2f.generate import Bundle, open_bundle, save_bundle
from t2f.judge import JudgeOptions, load_judge, save_judge, train_judge
from t2f.networks import FaceModel
from t2f.settings import PRESETS, Settings, Value
from t2f.spec import RESOLUTIONS, StagePlan, StageSpec, TrainingSpec, stage_keys
from t2f.train import ema_model
from t2f.trainer import StageTrainer
from t2f.trainfile import planned
from t2f.yamlfile import parse_value

CACHE = Path.home() / ".cache" / "t2f-benchmarks" / "faces"
# What `demo_data` makes: for figures, and to see that a benchmark works.
WHOLE = {"faces": 7000, "resolution": 64, "judge_steps": 1200}
QUICK = {"faces": 1000, "resolution": 16, "judge_steps": 100}
CHECKPOINT_SECONDS = 60.0
CALIBRATION_STEPS = 16  # a multiple of usual penalty intervals


def demo_data(cache: Path, *, faces: int, resolution: int, judge_steps: int) -> PreparedData:
    """The demo's faces, prepared, with a trained judge; what the cache holds is used as it is."""
    source = cache / f"faces-{faces}"
    render_demo(source, count=faces)
    options = PrepareOptions(max_resolution=resolution)
    data = prepare(source, format="imagefolder", out=cache / f"demo-{faces}", options=options)
    try:
        load_judge(data)
    except DataError:
        options = JudgeOptions(steps=judge_steps)
        save_judge(train_judge(data, options=options), data, options=options)
    return data


# Recipes


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of a training but its lengths."""

    resolutions: tuple[int, ...]
    fade: tuple[float, ...]
    batch: tuple[int, ...]
    settings: Settings
    late: Mapping[int, Mapping[str, Value]]

    def spec(self, data: PreparedData, *, images: Sequence[int], seed: int) -> TrainingSpec:
        plan = StagePlan(resolutions=self.resolutions, images=tuple(images), fade=self.fade, batch=self.batch)
        return TrainingSpec(data_key=data.key, seed=seed, plan=plan, settings=self.settings, late=self.late)


def recipe_of(
    values: Mapping[str, Value],
    resolution: int,
    *,
    preset: str = "small",
    late: Mapping[int, Mapping[str, Value]] | None = None,
    fade: Sequence[float] | None = None,
    batch: Sequence[float] | None = None,
) -> Recipe:
    """A training with these settings up to a resolution; fades and batches are the preset's where none are given."""
    resolutions = RESOLUTIONS[: RESOLUTIONS.index(resolution) + 1]
    return Recipe(
        resolutions=resolutions,
        fade=tuple(fade or planned(preset, "fade", len(resolutions))),
        batch=tuple(int(size) for size in batch or planned(preset, "batch", len(resolutions))),
        settings=Settings().with_values(values),
        late=late or {},
    )


def with_given(
    values: Mapping[str, Value], given: Sequence[str], resolution: int
) -> tuple[dict[str, Value], dict[int, dict[str, Value]]]:
    """Settings with those of `--set NAME=VALUE`, and those of later stages where VALUE is a list."""
    first, late = dict(values), {}
    for written in given:
        name, _, text = written.partition("=")
        value = parse_value(text, source=f"--set {written}")
        first[name], *later = value if isinstance(value, list) else [value]
        for stage, one in zip(RESOLUTIONS[1 : RESOLUTIONS.index(resolution) + 1], later, strict=False):
            late.setdefault(stage, {})[name] = one
    return first, late


def seconds_per_image(recipe: Recipe, data: PreparedData) -> tuple[float, ...]:
    """CPU seconds of each stage's images, by a few steps of each."""
    spec = recipe.spec(data, images=[10**9] * len(recipe.resolutions), seed=0)
    found = []
    for stage in spec.stages():
        trainer = StageTrainer(stage, data, parent=None if stage.index == 0 else {})
        trainer.step()  # the first one allocates
        begun = time.process_time()
        for _ in range(CALIBRATION_STEPS):
            trainer.step()
        found.append((time.process_time() - begun) / CALIBRATION_STEPS / stage.batch)
    return tuple(found)


def images_of(plan: Sequence[float], costs: Sequence[float], seconds: float) -> tuple[int, ...]:
    """A plan of images drawn out to these CPU seconds, at these costs of an image."""
    whole = sum(count * cost for count, cost in zip(plan, costs, strict=True))
    return tuple(round(count * seconds / whole) for count in plan)


# Trainings


def kept(path: Path | None, measured: Callable[[], Any]) -> Any:
    """What `measured` gives, as JSON in a file: a benchmark that was broken off does not measure it again."""
    if path is None:
        return measured()
    if not path.exists():
        found = json.dumps(measured())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, found.encode())
    return json.loads(path.read_text())


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one seed's training gave."""

    cpu_seconds: tuple[float, ...]  # of each stage
    model: FaceModel
    spec: TrainingSpec


def train(spec: TrainingSpec, data: PreparedData, folder: Path | None = None) -> Training:
    stages = list(stages_trained(spec, data, folder))
    return Training(spec=spec, cpu_seconds=tuple(seconds for _, _, seconds in stages), model=stages[-1][1])


class ClockedTrainer:
    """A stage's trainer and its CPU seconds, kept in a file from which another one goes on."""

    def __init__(
        self,
        stage: StageSpec,
        data: PreparedData,
        *,
        key: str,
        parent: Mapping[str, Tensor] | None,
        path: Path | None = None,
    ) -> None:
        begun = time.process_time()
        self.trainer = StageTrainer(stage, data, parent=parent)
        self.key, self.path, self.cpu_seconds = key, path, 0.0
        if path is not None and path.exists():
            tensors, metadata = load_tensors(path)
            if metadata["key"] != key:
                raise CheckpointError(f"{path} is of another training; remove {path.parent}, or give another --cache")
            self.trainer.load(tensors)
            self.cpu_seconds = metadata["cpu_seconds"]
        self.cpu_seconds += time.process_time() - begun

    def train(self, until: float = math.inf) -> None:
        """Go on to the stage's end, or until so many CPU seconds are spent. Raises DivergedError."""
        spent, begun, saved = self.cpu_seconds, time.process_time(), time.monotonic()
        while not self.trainer.position.is_finished and self.cpu_seconds < until:
            self.trainer.step()
            self.cpu_seconds = spent + time.process_time() - begun
            if self.trainer.position.step % 100 == 0:
                self.trainer.take_curves()  # raises if the training has diverged
            is_last = self.trainer.position.is_finished or self.cpu_seconds >= until
            if self.path is not None and (is_last or time.monotonic() > saved + CHECKPOINT_SECONDS):
                save_tensors(self.path, self.trainer.state(), {"key": self.key, "cpu_seconds": self.cpu_seconds})
                saved = time.monotonic()

    def state(self) -> dict[str, Tensor]:
        """A copy, which further steps do not touch."""
        return {name: tensor.clone() for name, tensor in self.trainer.state().items()}


def stages_trained(
    spec: TrainingSpec, data: PreparedData, folder: Path | None = None
) -> Iterator[tuple[StageSpec, FaceModel, float]]:
    """Each stage with its averaged model and its CPU seconds.

    folder: where the states are kept, from which another call goes on.
    """
    parent: dict[str, Tensor] | None = None
    for stage, key in zip(spec.stages(), stage_keys(spec.stages()), strict=True):
        path = None if folder is None else folder / f"{stage.resolution}px.safetensors"
        clocked = ClockedTrainer(stage, data, key=key, parent=parent, path=path)
        clocked.train()
        parent = clocked.state()
        yield stage, ema_model(stage, parent, len(data.vocabulary)), clocked.cpu_seconds


def demo_model(*, quick: bool = False) -> tuple[Bundle, PreparedData]:
    """The preset `small` at 16 px after about 90 CPU seconds, or quickly at 8 px after about 20, and its data.

    Trained at the first call, kept in the cache.
    """
    data = demo_data(CACHE, **(QUICK if quick else WHOLE))
    recipe = recipe_of(PRESETS["small"], 8 if quick else 16)
    spec = recipe.spec(data, images=(8_000, 4_000) if quick else (16_000, 8_000, 10_000), seed=0)
    path = CACHE.parent / "models" / f"{stage_keys(spec.stages())[-1][:16]}.safetensors"
    if not path.exists():
        save_bundle(
            path,
            model=train(spec, data).model,
            vocabulary=data.vocabulary,
            stage=spec.stages()[-1],
            max_tokens=data.max_tokens,
            lineage={"data": data.name},
        )
    return open_bundle(path), data
