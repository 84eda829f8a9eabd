"""One whole training without a scheduler: every stage in a folder of its own, going on where it was."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from t2f.checkpoint import load_tensors, save_tensors, write_durably
from t2f.data import PreparedData
from t2f.device import configure, numerics_class
from t2f.errors import CheckpointError
from t2f.evaluation import Evaluation, evaluate, reference_for
from t2f.generate import save_bundle
from t2f.judge import load_judge
from t2f.networks import FaceModel
from t2f.pictures import png_bytes, wall
from t2f.probe import EvaluationSpec
from t2f.run import Ending, Order, run_stage
from t2f.spec import StageSpec, TrainingSpec, stage_keys
from t2f.stages import Position, num_steps
from t2f.trainer import StageTrainer

STATE_FILE = "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    resolution: int
    key: str
    weights_sha256: str
    seconds: float
    evaluation: Evaluation


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


class _FolderReporter:
    """Keeps curves as lines of JSON and the newest state in one file."""

    def __init__(
        self, folder: Path, key: str, stage: StageSpec, progress: Callable[[StageSpec, Position, float], None]
    ):
        self._folder, self._key, self._stage, self._progress = folder, key, stage, progress
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

    def order(self) -> Order:
        return Order.CONTINUE

    def checkpoint(self, trainer: StageTrainer) -> None:
        save_state(self._folder / STATE_FILE, trainer, self._key)


def train(
    spec: TrainingSpec,
    data: PreparedData,
    *,
    out: Path,
    device: torch.device,
    threads: int,
    probe: EvaluationSpec,
    checkpoint_seconds: float,
    progress: Callable[[StageSpec, Position, float], None],
    stage_done: Callable[[TrainedStage], None],
) -> list[TrainedStage]:
    """Train every stage into `out/4px`, `out/8px`, ..., and write the final bundle `out/model.safetensors`.

    Stages that `out` already holds are not trained again, and an unfinished one goes on from its last checkpoint.
    """
    configure(threads=threads)
    judge, judge_hash = load_judge(data)
    stages = spec.stages()
    parent: dict[str, Tensor] | None = None
    trained: list[TrainedStage] = []
    for stage, key in zip(stages, stage_keys(stages), strict=True):
        folder = out / f"{stage.resolution}px"
        begun = time.monotonic()
        trainer = StageTrainer(stage, data, parent=parent, device=device)
        if (folder / STATE_FILE).exists():
            trainer.load(load_state(folder / STATE_FILE, key))
        description = {"spec": stage.to_json(), "key": key, "numerics_class": numerics_class(device)}
        write_durably(folder / "spec.json", json.dumps(description, indent=1).encode())
        if not trainer.position.is_finished:
            ending = run_stage(
                trainer, _FolderReporter(folder, key, stage, progress), checkpoint_seconds=checkpoint_seconds
            )
            assert ending is Ending.DONE
            save_state(folder / STATE_FILE, trainer, key)
        assert trainer.position.step == num_steps(stage)
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
        model = ema_model(stage, parent, len(data.vocabulary))
        reference = reference_for(data, judge, judge_hash, resolution=stage.resolution, spec=probe)
        evaluation = evaluate(
            model, resolution=stage.resolution, data=data, judge=judge, reference=reference, spec=probe
        )
        write_durably(folder / "metrics.json", json.dumps(evaluation.metrics_json(), indent=1).encode())
        write_durably(folder / "samples.png", png_bytes(wall(evaluation.wall, columns=probe.seeds)))
        done = TrainedStage(
            resolution=stage.resolution,
            key=key,
            weights_sha256=trainer.weights_sha256(),
            seconds=time.monotonic() - begun,
            evaluation=evaluation,
        )
        stage_done(done)
        trained.append(done)
    save_bundle(
        out / "model.safetensors",
        model=model,
        vocabulary=data.vocabulary,
        stage=stages[-1],
        max_tokens=data.max_tokens,
        lineage={"data": data.name, "data_key": data.key, "stage_keys": list(stage_keys(stages))},
    )
    return trained
