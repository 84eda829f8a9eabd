"""One whole training without a scheduler: every stage in a folder of its own, going on where it was."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2f.card import card_of, scored_on
from t2f.checkpoint import load_tensors, save_tensors, write_durably
from t2f.data import PreparedData
from t2f.data.files import read_json, writing
from t2f.device import configure, default_device, numerics_class
from t2f.errors import CheckpointError, UserError
from t2f.evaluation import Evaluation, evaluate
from t2f.generate import init_weights, open_bundle, save_bundle
from t2f.judge import Judge, load_judge
from t2f.metrics.figures import Figure
from t2f.networks import FaceModel
from t2f.pictures import png_bytes, wall
from t2f.probe import EvaluationSpec
from t2f.ranks import Ranks
from t2f.reading import data_reader
from t2f.reference import reference_for
from t2f.run import Ending, Order, run_stage
from t2f.spec import StageSpec, TrainingSpec, stage_keys
from t2f.stages import Position, num_steps
from t2f.trainer import StageTrainer

STATE_FILE = "state.safetensors"
PROBE_FILE = "probe.json"  # the captions and noise that the samples are drawn with


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    resolution: int
    key: str
    weights_sha256: str
    seconds: float
    metrics: Mapping[str, Figure]


def save_state(path: Path, trainer: StageTrainer, key: str) -> None:
    """Write the whole training state; `key` says of which stage run it is."""
    metadata = {"key": key, "stage": trainer.stage.to_json(), "step": trainer.position.step}
    save_tensors(path, trainer.state(), metadata)


def load_state(path: Path, key: str) -> dict[str, Tensor]:
    """The training state in a file; CheckpointError where it is of another stage run."""
    tensors, metadata = load_tensors(path)
    if metadata.get("key") != key:
        raise CheckpointError(
            f"{path} belongs to another training: its settings, data or seed differ. "
            "Give another output folder, or remove this one"
        )
    return tensors


def ema_model(stage: StageSpec, state: Mapping[str, Tensor], vocabulary_size: int) -> FaceModel:
    """The averaged generator side in a training state, ready to draw."""
    model = FaceModel(stage, vocabulary_size)
    model.load_state_dict({name.removeprefix("ema."): t for name, t in state.items() if name.startswith("ema.")})
    return model.eval().requires_grad_(False)


def evaluate_state(
    stage: StageSpec,
    state: Mapping[str, Tensor],
    data: PreparedData,
    *,
    judge: Judge | None,
    judge_sha256: str,
    spec: EvaluationSpec,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """All figures and samples of the averaged model in a sealed stage's training state."""
    return evaluate(
        ema_model(stage, state, len(data.vocabulary)).to(device),
        resolution=stage.resolution,
        data=data,
        judge=judge,
        reader=data_reader(stage, data),
        reference=reference_for(data, judge, judge_sha256, resolution=stage.resolution, spec=spec),
        spec=spec,
    )


Progress = Callable[[StageSpec, Position, float], None]  # stage, place in it, images/s


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """All that a whole training is told."""

    spec: TrainingSpec
    data: Path  # the prepared data set's folder
    out: Path
    threads: int
    probe: EvaluationSpec
    checkpoint_seconds: float
    init_from: Path | None = None  # a model bundle that new layers start from
    tensorboard: bool = False  # curves also as event files under OUT/tensorboard


class _FolderReporter:
    """Keeps curves as lines of JSON, and as TensorBoard's events if asked for, and the newest state in one file."""

    def __init__(self, folder: Path, key: str, stage: StageSpec, progress: Progress, events: "_Events | None") -> None:
        self._folder, self._key, self._stage, self._progress, self._events = folder, key, stage, progress, events
        self._begun, self._first_step = time.monotonic(), None

    def stepped(self, position: Position) -> None:
        if self._first_step is None:
            self._first_step = position.step - 1
        if position.step % 10 == 0 or position.is_finished:
            steps = position.step - self._first_step
            images = position.images_seen / position.step * steps
            self._progress(self._stage, position, images / (time.monotonic() - self._begun))

    def curves(self, images_seen: int, values: Mapping[str, float]) -> None:
        with (self._folder / "curves.jsonl").open("a") as file:
            file.write(json.dumps({"images": images_seen, **values}) + "\n")
        if self._events is not None:
            self._events.add(images_seen, values)

    def order(self) -> Order:
        return Order.CONTINUE

    def checkpoint(self, trainer: StageTrainer) -> None:
        save_state(self._folder / STATE_FILE, trainer, self._key)


class _SilentReporter:
    """What the other devices of a training have: the first one reports for all."""

    def stepped(self, position: Position) -> None: ...

    def curves(self, images_seen: int, values: Mapping[str, float]) -> None: ...

    def order(self) -> Order:
        return Order.CONTINUE

    def checkpoint(self, trainer: StageTrainer) -> None: ...


class _Events:
    """Curves of one stage as TensorBoard's event files, over the images since 4 px."""

    def __init__(self, folder: Path, *, images_before: int, images_seen: int) -> None:
        try:
            # An optional package, and one that takes seconds to import.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "--tensorboard needs the package tensorboard, which is not installed; pip install 't2f[tensorboard]'"
            ) from error
        self._images_before = images_before
        # What an interrupted training wrote beyond its last checkpoint is written again.
        self._writer = SummaryWriter(str(folder), purge_step=images_before + images_seen + 1)

    def add(self, images_seen: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._images_before + images_seen)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def train(
    request: TrainingRequest, *, ranks: Ranks, progress: Progress, stage_done: Callable[[TrainedStage], None]
) -> None:
    """Train every stage into `out/4px`, `out/8px`, ..., and write the final bundle `out/model.safetensors`.

    Stages that `out` already holds are not trained again, and an unfinished one goes on from its last checkpoint.
    Of several ranks the first alone writes, measures and tells.
    """
    configure(threads=request.threads)
    device = default_device()
    data, out = PreparedData.open(request.data), request.out
    stages = request.spec.stages()
    init = None
    if request.init_from is not None:
        init = init_weights(open_bundle(request.init_from), data.vocabulary, stages[0].settings)
    if ranks.rank == 0:
        with writing(out):
            write_durably(out / PROBE_FILE, json.dumps(request.probe.to_json(), indent=1).encode())
    parent: dict[str, Tensor] | None = None
    images_before = 0
    for stage, key in zip(stages, stage_keys(stages), strict=True):
        begun, folder = time.monotonic(), out / f"{stage.resolution}px"
        trainer = StageTrainer(stage, data, parent=parent, init=init, device=device, ranks=ranks)
        if (folder / STATE_FILE).exists():
            trainer.load(load_state(folder / STATE_FILE, key))
        if ranks.rank == 0:
            numerics = numerics_class(device, precision=stage.settings.compute.precision, devices=ranks.size)
            files = _StageFiles(folder, {"spec": stage.to_json(), "key": key, "numerics_class": numerics})
            if not trainer.position.is_finished:
                files.describe()
        if not trainer.position.is_finished:
            _run(trainer, request, folder, key, images_before, progress)
        assert trainer.position.step == num_steps(stage)
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
        images_before += trainer.position.images_seen
        if ranks.rank == 0:
            metrics = files.metrics(request.probe) or _measure(stage, parent, data, request.probe, files)
            scores = {name: figure.to_json() for name, figure in metrics.items()}
            card = card_of(data, scores=scores, scored_on=scored_on(request.probe))
            stage_done(
                TrainedStage(
                    resolution=stage.resolution,
                    key=key,
                    weights_sha256=trainer.weights_sha256(),
                    seconds=time.monotonic() - begun,
                    metrics=metrics,
                )
            )
    if ranks.rank == 0:
        save_bundle(
            out / "model.safetensors",
            model=ema_model(stages[-1], parent, len(data.vocabulary)),
            vocabulary=data.vocabulary,
            stage=stages[-1],
            max_tokens=data.max_tokens,
            lineage={"data": data.name, "data_key": data.key, "stage_keys": list(stage_keys(stages))},
            card=card,
        )


def _run(
    trainer: StageTrainer, request: TrainingRequest, folder: Path, key: str, images_before: int, progress: Progress
) -> None:
    """The rest of one stage, and its sealed state."""
    if trainer.ranks.rank != 0:
        run_stage(trainer, _SilentReporter(), checkpoint_seconds=request.checkpoint_seconds)
        return
    events = None
    if request.tensorboard:
        seen = trainer.position.images_seen
        events = _Events(request.out / "tensorboard", images_before=images_before, images_seen=seen)
    try:
        reporter = _FolderReporter(folder, key, trainer.stage, progress, events)
        ending = run_stage(trainer, reporter, checkpoint_seconds=request.checkpoint_seconds)
    finally:
        if events is not None:
            events.close()
    assert ending is Ending.DONE
    save_state(folder / STATE_FILE, trainer, key)


def _measure(
    stage: StageSpec, state: Mapping[str, Tensor], data: PreparedData, probe: EvaluationSpec, files: "_StageFiles"
) -> Mapping[str, Figure]:
    """The stage's metrics; they and the samples are written into its folder."""
    judge, judge_sha256 = load_judge(data)
    evaluation = evaluate_state(stage, state, data, judge=judge, judge_sha256=judge_sha256, spec=probe)
    # A row for each caption; faces of noise alone are one long row, which is folded.
    columns = probe.seeds if data.has_captions else min(8, probe.seeds)
    files.keep(evaluation, probe, columns=columns)
    return evaluation.metrics


class _StageFiles:
    """What a stage's folder says of it, beside its state: `spec.json`, and once measured the figures and samples."""

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self._folder, self._description = folder, description

    def describe(self, **more: str) -> None:
        write_durably(self._folder / "spec.json", json.dumps({**self._description, **more}, indent=1).encode())

    def keep(self, evaluation: Evaluation, probe: EvaluationSpec, *, columns: int) -> None:
        write_durably(self._folder / "metrics.json", json.dumps(evaluation.metrics_json(), indent=1).encode())
        write_durably(self._folder / "samples.png", png_bytes(wall(evaluation.wall, columns=columns)))
        self.describe(evaluation=probe.key)  # last, as it says that both are there

    def metrics(self, probe: EvaluationSpec) -> dict[str, Figure] | None:
        """The figures of the finished stage as this probe measured them before; None where it has not, or not whole."""
        files = [self._folder / name for name in ("spec.json", "metrics.json", "samples.png")]
        if not all(file.is_file() for file in files):
            return None
        try:
            if read_json(files[0]) != {**self._description, "evaluation": probe.key}:
                return None
            return {name: Figure(**figure) for name, figure in read_json(files[1]).items()}
        except (UserError, TypeError, AttributeError):
            return None  # somebody's own, or damaged: measured again
