"""The article's video: the same captions and noise, growing from 4 px through every fade to the last resolution.

What a training keeps are moments: its whole state at each stage's end, and, in a sweep, at checkpoints between. A frame
between two moments is drawn with averaged weights on the straight line between theirs, and with the alpha that the
training had then. So every frame at a moment is what the model drew there. At a stage's start the new layers have no
share yet (alpha 0) and the rest are the stage before's, so nothing jumps. What lies between is estimated: the more
checkpoints, the closer to the truth.

B faces, Z latent, R resolution in px
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2f.checkpoint import load_tensors
from t2f.data import Vocabulary
from t2f.data.files import read_json
from t2f.drawing import noise
from t2f.errors import CheckpointError, SpecError
from t2f.generate import open_bundle
from t2f.metadata import read_metadata
from t2f.networks import FaceModel, start_as_identity, take_over
from t2f.pictures import contact_sheet
from t2f.probe import EvaluationSpec
from t2f.reading import Reader
from t2f.spec import RESOLUTIONS, StageSpec
from t2f.stages import num_steps, position
from t2f.train import PROBE_FILE, STATE_FILE

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A training state in a file, and how many of its stage's images had been seen."""

    path: Path
    images: int


@dataclass(frozen=True, kw_only=True)
class GrowingStage:
    """One stage and the moments that were kept of it, in order; the last one is its end."""

    stage: StageSpec
    moments: tuple[Moment, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One look at the training."""

    stage: StageSpec
    images: int  # of the stage, seen by then
    alpha: float
    faces: np.ndarray  # uint8 [captions * seeds, 3, R, R] in the stage's own R, row by row a caption


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A whole training as it can be watched again."""

    stages: tuple[GrowingStage, ...]  # from 4 px up
    vocabulary: Vocabulary
    reader: Reader
    captions: tuple[str, ...]  # the probe's
    seeds: int

    @property
    def resolution(self) -> int:
        return self.stages[-1].stage.resolution


def some_of(growth: Growth, *, captions: int, seeds: int) -> Growth:
    """The growth of the probe's first captions and seeds."""
    for name, number, there in (("captions", captions, len(growth.captions)), ("seeds", seeds, growth.seeds)):
        if number < 1:
            raise SpecError(f"--{name} {number} is not allowed; it must be from 1 to the probe's {there}")
    return replace(growth, captions=growth.captions[:captions], seeds=min(seeds, growth.seeds))


def alpha_after(stage: StageSpec, images: float) -> float:
    """The new layers' share once so many images of the stage have been seen; 1 where nothing fades."""
    return 1.0 if stage.index == 0 or images >= stage.fade_images else images / stage.fade_images


def frames_of(growth: Growth, *, frames_a_stage: int) -> Iterator[Frame]:
    """For every stage its start, its end and frames between, evenly over the images it saw.

    The first stage starts with the weights that it was initialised with.
    """
    before: Weights | None = None
    for growing in growth.stages:
        stage, end = growing.stage, growing.moments[-1]
        last = _averaged(end.path)
        model = _started(growth, stage, before, last)
        _check_shapes(model, last, end.path)
        line = _Line(model.state_dict(), growing.moments)
        for images in np.linspace(0, end.images, frames_a_stage):
            model.load_state_dict(line.at(float(images)))
            alpha = alpha_after(stage, float(images))
            yield Frame(stage=stage, images=round(float(images)), alpha=alpha, faces=_draw(model, growth, alpha))
        before = last


def _averaged(path: Path) -> Weights:
    return load_tensors(path, prefix="ema.")[0]


def _started(growth: Growth, stage: StageSpec, before: Weights | None, last: Weights) -> FaceModel:
    """The model at a stage's start: the stage before's weights, and new layers as they are initialised.

    What is no parameter (words' fixed vectors) never changes, so it is taken from the stage's end.
    """
    model = FaceModel(stage, len(growth.vocabulary)).eval().requires_grad_(False)
    take_over(model, {name: last[name] for name, _ in model.named_buffers() if name in last})
    if before is not None:
        take_over(model, before)
        if stage.settings.network.new_blocks == "identity":
            start_as_identity(model)
    return model


class _Line:
    """A stage's weights over its images, with no more than two moments in memory."""

    def __init__(self, start: Weights, moments: Sequence[Moment]) -> None:
        self._start = {name: tensor.clone() for name, tensor in start.items()}
        self._moments = moments
        self._read = lru_cache(maxsize=2)(_averaged)

    def at(self, images: float) -> Weights:
        """On the straight line between the moments before and after this many images."""
        after = next(place for place, moment in enumerate(self._moments) if images <= moment.images)
        end, end_images = self._read(self._moments[after].path), self._moments[after].images
        start, start_images = self._start, 0
        if after > 0:
            start, start_images = self._read(self._moments[after - 1].path), self._moments[after - 1].images
        share = (images - start_images) / max(1, end_images - start_images)
        return {name: torch.lerp(start[name], end[name], share) for name in end}


def _check_shapes(model: FaceModel, weights: Weights, path: Path) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if own != {name: tuple(tensor.shape) for name, tensor in weights.items()}:
        raise CheckpointError(f"{path} does not hold the model that its stage describes; was the data prepared anew?")


@torch.no_grad()
def _draw(model: FaceModel, growth: Growth, alpha: float) -> np.ndarray:
    """The probe's wall as samples have it: under every caption the same noise."""
    captions = growth.reader.of_sentences(growth.captions)
    noise_SZ = torch.cat([noise(model, f"seed {seed}", 1) for seed in range(growth.seeds)])
    pictures = []
    for row in range(len(growth.captions)):
        text_BE = model.embed(captions.rows(slice(row, row + 1)))
        text_BE = None if text_BE is None else text_BE.expand(growth.seeds, -1)
        pictures.append(model.draw(text_BE, noise_SZ, alpha=alpha))
    return torch.cat(pictures).contiguous().numpy()


def frame_picture(frame: Frame, growth: Growth, *, columns: int) -> Image.Image:
    """The frame for people: each pixel of the stage as one square, captions under the faces."""
    times = growth.resolution // frame.stage.resolution
    faces = frame.faces.repeat(times, axis=2).repeat(times, axis=3)
    fading = f", {frame.alpha:.0%} faded in" if frame.alpha < 1 else ""
    heading = f"{frame.stage.resolution} px, {frame.images:,} images{fading}"
    return contact_sheet(faces, growth.captions, faces_each=growth.seeds, columns=columns, heading=heading)


# Where a training without a scheduler left its moments


def growth_of_folder(out: Path) -> Growth:
    """A finished `t2f train` or `t2f progan train`: its stages' ends. CheckpointError where something is missing."""
    if not (out / "model.safetensors").exists():
        raise CheckpointError(f"{out} holds no finished training; `t2f train FILE -o {out}` goes on with it")
    bundle = open_bundle(out / "model.safetensors")
    stages = []
    for resolution in RESOLUTIONS[: bundle.stage.index + 1]:
        path = out / f"{resolution}px" / STATE_FILE
        metadata = read_metadata(path)
        try:
            probe = EvaluationSpec.from_json(read_json(out / PROBE_FILE))
            stage = StageSpec.from_json(metadata["stage"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{out} does not hold what `t2f train` writes: {error!r} in {path.parent}") from error
        moment = Moment(path=path, images=position(stage, num_steps(stage)).images_seen)
        stages.append(GrowingStage(stage=stage, moments=(moment,)))
    return Growth(
        stages=tuple(stages),
        vocabulary=bundle.vocabulary,
        reader=bundle.reader,
        captions=probe.captions,
        seeds=probe.seeds,
    )
