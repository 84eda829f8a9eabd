"""Training recorded stages again, from scratch and alone, to compare their bits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from t2f.data import PreparedData
from t2f.device import configure, numerics_class
from t2f.run import Ending, Order, run_stage
from t2f.spec import StageSpec, stage_keys
from t2f.stages import Position
from t2f.train import STATE_FILE, load_state, save_state
from t2f.trainer import StageTrainer


@dataclass(frozen=True, kw_only=True)
class Retrained:
    resolution: int
    key: str
    weights_sha256: str
    numerics_class: str


class _KeepsState:
    """Keeps the newest state alone: nobody looks at the curves of a training that was seen before."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def stepped(self, position: Position) -> None: ...

    def curves(self, images_seen: int, values: Mapping[str, float]) -> None: ...

    def order(self) -> Order:
        return Order.CONTINUE

    def checkpoint(self, trainer: StageTrainer) -> None:
        save_state(self._path, trainer, self._key)


def retrain(
    stages: Sequence[StageSpec],
    *,
    data: PreparedData,
    folder: Path,
    init: Mapping[str, Tensor] | None,
    threads: int,
    device: torch.device,
    checkpoint_seconds: float = 30.0,
) -> Iterator[Retrained]:
    """Train the stages one on another in a folder, which an interrupted call goes on from; each as it is done.

    init: the weights that new layers start from, where the first training had any.
    """
    configure(threads=threads)
    parent: dict[str, Tensor] | None = None
    for stage, key in zip(stages, stage_keys(stages), strict=True):
        path = folder / f"{stage.resolution}px" / STATE_FILE
        trainer = StageTrainer(stage, data, parent=parent, init=init, device=device)
        if path.exists():
            trainer.load(load_state(path, key))
        if not trainer.position.is_finished:
            ending = run_stage(trainer, _KeepsState(path, key), checkpoint_seconds=checkpoint_seconds)
            assert ending is Ending.DONE
            save_state(path, trainer, key)
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
        yield Retrained(
            resolution=stage.resolution,
            key=key,
            weights_sha256=trainer.weights_sha256(),
            numerics_class=numerics_class(device, precision=stage.settings.compute.precision),
        )
