"""ProGAN (arXiv:1710.10196) on any folder of pictures, told its depth and its feature maps alone.

    from t2f.progan import ProGAN

    gan = ProGAN(depth=6, features=256)  # 4, 8, 16, 32, 64 and 128 px
    faces = gan.train("photos", out="runs/photos").sample(16)  # uint8 [16, 3, 128, 128]
    faces = ProGAN.load("runs/photos/model.safetensors").sample(16, seed=0, truncation=0.7)

It is T2F's training with `text.encoder: none`, and so has its stages, moving average, figures and resuming. Nothing
here imports torch before something is trained or drawn.

B batch, Z latent, R resolution in px
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from t2f.data import (
    Content,
    CropOptions,
    PreparedData,
    PrepareOptions,
    is_prepared_from,
    planned_content,
    prepare_content,
)
from t2f.data.files import read_json
from t2f.data.prepared import is_prepared
from t2f.data.splits import split_of
from t2f.errors import CheckpointError, DataError, SpecError
from t2f.probe import NO_CAPTIONS, NO_JUDGE, EvaluationSpec
from t2f.settings import Settings, Value
from t2f.spec import RESOLUTIONS, StagePlan, StageSpec, TrainingSpec, stage_keys

if TYPE_CHECKING:
    import numpy as np

    from t2f.generate import Bundle
    from t2f.networks import Discriminator, Generator
    from t2f.ranks import Ranks
    from t2f.train import TrainingRequest

DATA = "data"  # the prepared pictures, below the output folder
# A stage shows every picture so often, within bounds: fewer images teach a stage little, however few pictures there
# are, and the paper's 800,000 that fade in and 800,000 that settle (section A.1) are enough for any number of them.
PASSES = 200
FEWEST_IMAGES, MOST_IMAGES = 100_000, 1_600_000
FADE = 0.5  # section A.1: as many images fade in as settle
BATCH = 16  # section A.1, up to 128 px
LARGE_BATCH = {256: 8, 512: 4, 1024: 4}  # section A.1: 14, 6 and 3; here whole groups of the minibatch deviation
# Section A.2: CelebA-HQ is mirrored. The ramp-up lets short stages forget their untrained layers (docs/lab-log.md).
VALUES: Mapping[str, Value] = {"text.encoder": "none", "data.mirror": "on", "ema.ramp_up": 0.2}
SAMPLES = 32  # faces in each samples.png
MEASURED_IMAGES = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training would do, and where."""

    content: Content  # the pictures, not yet decoded
    training_pictures: int  # of them; the others are held out to measure with
    stages: tuple[StageSpec, ...]
    out: Path

    @property
    def pictures(self) -> int:
        return len(self.content.source.examples)


@dataclass(frozen=True, kw_only=True)
class ProGAN:
    """The recipe of an unconditional progressive GAN: all that decides its bits, given the pictures."""

    depth: int  # resolutions: 1 is 4 px alone, 9 is 4 to 1024 px
    features: int  # feature maps up to 32 px, halved with each doubling above; also the size of the latent
    kimg: float | Sequence[float] | None = None  # thousands of images a stage, or a list of them; None: `stage_images`
    batch: int | Sequence[int] | None = None  # images a step, or a list, one a stage; None: 16, above 128 px fewer
    seed: int = 0
    crop: str = "square"  # which square of a picture is used: square, centre:PIXELS or fraction:SHARE
    on_bad_image: str = "fail"  # or "skip"
    settings: Mapping[str, Value] = field(default_factory=dict)  # any other by its full name, as in docs/settings.md

    def __post_init__(self) -> None:
        _check_whole("depth", self.depth, low=1, high=len(RESOLUTIONS), more="the number of resolutions from 4 px up")
        _check_whole("features", self.features, low=2, high=4096, more="the most feature maps of a layer")
        if self.settings.get("text.encoder", "none") != "none":
            raise SpecError(
                f"text.encoder = {self.settings['text.encoder']!r} is not allowed here: a ProGAN draws without words; "
                "train with captions from a file, with `t2f train`"
            )
        # Whatever is wrong with the rest is said now, before any picture is read.
        self.options()
        self.training(data_key="", training_pictures=2)

    @property
    def resolution(self) -> int:
        return RESOLUTIONS[self.depth - 1]

    def options(self) -> PrepareOptions:
        """How the pictures are prepared: a tenth of them is held out, to measure with."""
        crop = CropOptions.parse(self.crop)
        return PrepareOptions(
            max_resolution=self.resolution, crop=crop, on_bad_image=self.on_bad_image, test_fraction=0.0
        )

    def training(self, *, data_key: str, training_pictures: int) -> TrainingSpec:
        """Every stage's recipe on so many pictures."""
        # ProGAN's table 2 at 512: full up to 32 px, then halved. Other sizes are that network, thinner.
        size = {
            "network.latent": self.features,
            "network.feature_max": self.features,
            "network.feature_base": 32 * self.features,
        }
        plan = StagePlan(
            resolutions=RESOLUTIONS[: self.depth],
            images=self._images(training_pictures),
            fade=(0.0, *(FADE,) * (self.depth - 1)),
            batch=self._batches(),
        )
        settings = Settings().with_values({**VALUES, **size, **self.settings})
        return TrainingSpec(data_key=data_key, seed=self.seed, plan=plan, settings=settings)

    def _images(self, training_pictures: int) -> tuple[int, ...]:
        if self.kimg is None:
            return stage_images(self.depth, training_pictures)
        given = _per_stage("kimg", self.kimg, self.depth)
        for value in given:
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or not 1 <= round(1000 * value) <= 10**12:
                raise SpecError(f"kimg = {value!r} is not allowed; it must be a number from 0.001 to 1e9")
        return tuple(round(1000 * value) for value in given)

    def _batches(self) -> tuple[int, ...]:
        if self.batch is None:
            return tuple(LARGE_BATCH.get(resolution, BATCH) for resolution in RESOLUTIONS[: self.depth])
        given = _per_stage("batch", self.batch, self.depth)
        for value in given:
            _check_whole("batch", value, low=2, high=4096, more="images a step")
        return given

    # Training

    def plan(self, folder: str | Path, *, out: str | Path) -> Plan:
        """What `train` would do with the same arguments; raises what it would raise, and writes nothing."""
        folder, out = Path(folder), Path(out)
        _check_out(out, folder)
        options = self.options()
        # replace: other data in `out` is this function's to refuse, in its own words.
        content = planned_content(folder, format="folder", out=out / DATA, options=options, replace=True)
        examples = content.source.examples
        training = sum(split_of(example, options) == "train" for example in examples)
        if training < 2:
            raise DataError(
                f"{folder} holds {len(examples)} {'picture' if len(examples) == 1 else 'pictures'}, {training} of them "
                "for training; a GAN needs at least two, and hundreds to learn anything, so add some"
            )
        stages = self.training(data_key=content.key, training_pictures=training).stages()
        if is_prepared(out / DATA) and not is_prepared_from(out / DATA, content):
            raise CheckpointError(
                f"{out} holds the training of other pictures, or the pictures in {folder} have changed, or crop or "
                "depth have; give another output folder, or remove this one"
            )
        if self.on_bad_image == "fail":  # else pictures that cannot be used change their number, and the keys with it
            _check_keys(out, stages)
        return Plan(content=content, training_pictures=training, stages=stages, out=out)

    def prepare(self, plan: Plan, *, progress: Callable[[int, int], None] | None = None) -> PreparedData:
        """The pictures, decoded and shrunk once into `out/data`, or as they already lie there.

        progress(pictures decoded, pictures) is called from time to time.
        """
        data = prepare_content(plan.content, out=plan.out / DATA, options=self.options(), progress=progress)
        _check_keys(plan.out, self.training(data_key=data.key, training_pictures=data.split("train").size).stages())
        return data

    def request(
        self,
        data: PreparedData,
        *,
        out: str | Path,
        threads: int = 1,
        checkpoint_seconds: float = 30.0,
        tensorboard: bool = False,
    ) -> "TrainingRequest":
        """What `t2f.train.train` is told, for callers with a progress display of their own."""
        # This module starts without torch.
        from t2f.train import TrainingRequest

        split = "validation" if data.split("validation").size >= 2 else "train"
        return TrainingRequest(
            spec=self.training(data_key=data.key, training_pictures=data.split("train").size),
            data=data.path,
            out=Path(out),
            threads=threads,
            probe=EvaluationSpec(
                captions=NO_CAPTIONS,
                seeds=SAMPLES,
                num_images=MEASURED_IMAGES,
                split=split,
                data_key=data.key,
                judge_sha256=NO_JUDGE,
            ),
            checkpoint_seconds=checkpoint_seconds,
            tensorboard=tensorboard,
        )

    def train(
        self,
        folder: str | Path,
        *,
        out: str | Path,
        threads: int = 1,
        devices: int = 1,
        checkpoint_seconds: float = 30.0,
        tensorboard: bool = False,
    ) -> "TrainedProGAN":
        """Train every stage on the pictures in `folder` and those below it; go on where `out` already is.

        out: gets `data`, the prepared pictures; `4px`, `8px`, ..., each with its state, figures and samples.png; and
        `model.safetensors`. threads: another number gives other bits. devices: GPUs, or CPU processes, that share every
        batch; with more than one, call this under `if __name__ == "__main__":`, as processes are spawned.
        """
        # This module starts without torch.
        from t2f.ranks import run_on_ranks

        plan = self.plan(folder, out=out)
        check_compute(plan.stages, threads=threads, devices=devices)
        data = self.prepare(plan)
        request = self.request(
            data, out=out, threads=threads, checkpoint_seconds=checkpoint_seconds, tensorboard=tensorboard
        )
        run_on_ranks(_train_logging, devices, request)
        return self.load(Path(out) / "model.safetensors")

    @staticmethod
    def load(model: str | Path) -> "TrainedProGAN":
        """The model in a bundle file, as a training leaves it; CheckpointError where it is damaged or reads words."""
        # This module starts without torch.
        from t2f.generate import open_bundle

        bundle = open_bundle(Path(model))
        if bundle.reads_words:
            raise CheckpointError(f"{model} was trained with words; draw with `t2f generate {model} SENTENCE`")
        return TrainedProGAN(bundle)

    # For a loop of one's own

    def networks(self, resolution: int | None = None) -> "tuple[Generator, Discriminator]":
        """Both networks of one stage (None: the last), with a new training's weights, for a loop of one's own.

        >>> import torch
        >>> from t2f.networks import fade_reals, take_over
        >>> gan = ProGAN(depth=3, features=8)
        >>> generator, discriminator = gan.networks(8)
        >>> fakes = generator(torch.randn(4, 8), 0.5)  # images_B3RR from latent_BZ, the block of 8 px half faded in
        >>> fakes.shape
        torch.Size([4, 3, 8, 8])
        >>> reals = fade_reals(torch.rand(4, 3, 8, 8) * 2 - 1, 0.5)
        >>> loss_d = (discriminator(fakes.detach(), None, 0.5) - discriminator(reals, None, 0.5)).mean()
        >>> loss_d.backward()
        >>> larger_generator, larger_discriminator = gan.networks(16)
        >>> take_over(larger_generator, generator.state_dict())
        >>> take_over(larger_discriminator, discriminator.state_dict())
        >>> larger_generator(torch.randn(4, 8), 0.1).shape
        torch.Size([4, 3, 16, 16])
        """
        # This module starts without torch.
        from t2f.networks import Discriminator, FaceModel

        resolution = resolution or self.resolution
        stages = {stage.resolution: stage for stage in self.training(data_key="", training_pictures=2).stages()}
        if resolution not in stages:
            raise SpecError(
                f"resolution = {resolution!r} is not allowed; it must be one of {', '.join(map(str, stages))}"
            )
        return FaceModel(stages[resolution], 0).generator, Discriminator(stages[resolution])


@dataclass(frozen=True)
class TrainedProGAN:
    """A trained model that draws."""

    bundle: "Bundle"

    @property
    def resolution(self) -> int:
        return self.bundle.resolution

    def sample(self, count: int, *, seed: int = 0, truncation: float = 1.0) -> "np.ndarray":
        """uint8 [count, 3, R, R]: the faces of seed, seed + 1, ..., as `t2f generate` draws them.

        truncation in [0, 1] scales the noise: smaller is nearer to the average face, and less varied.
        """
        return self.bundle.draw([""], seeds=range(seed, seed + count), truncation=truncation)


def stage_images(depth: int, training_pictures: int) -> tuple[int, ...]:
    """How many images each stage shows where nobody says; half as many at 4 px, where nothing fades in."""
    images = min(max(PASSES * training_pictures, FEWEST_IMAGES), MOST_IMAGES)
    return (images // 2, *(images,) * (depth - 1))


def check_compute(stages: Sequence[StageSpec], *, threads: int, devices: int) -> None:
    """SpecError where so many threads or devices are not to be had, or the devices cannot share every stage's batch."""
    # This module starts without torch.
    from t2f.device import require_devices
    from t2f.ranks import Ranks

    _check_whole("threads", threads, low=1, high=1024, more="CPU threads of each device")
    require_devices(devices)
    for stage in stages:
        Ranks(size=devices).rows(stage)


def _train_logging(ranks: "Ranks", request: "TrainingRequest") -> None:
    """One device's part of a training, told in the log."""
    # This module starts without torch.
    from t2f.train import TrainedStage, train

    def stage_done(done: TrainedStage) -> None:
        logger.info("%d px: fidelity %.3f, %.0f s", done.resolution, done.metrics["score"].value, done.seconds)

    train(request, ranks=ranks, progress=lambda stage, position, speed: None, stage_done=stage_done)


# Refusing


def _check_whole(name: str, value: object, *, low: int, high: int, more: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{name} = {value!r} is not allowed; it must be a whole number from {low} to {high}: {more}")


def _per_stage(name: str, value: object, depth: int) -> tuple:
    """One value for each stage; a single one stands for all."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,) * depth
    if len(value) != depth:
        resolutions = ", ".join(map(str, RESOLUTIONS[:depth]))
        raise SpecError(f"{name} has {len(value)} values; give one, or one for each of {resolutions} px")
    return tuple(value)


def _check_out(out: Path, folder: Path) -> None:
    """Refuse an output folder that holds something else, or whose pictures would be trained on the next time."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give an output folder that is empty or does not exist yet")
    if out.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"the output folder {out} lies in {folder}, so its samples would count as pictures; give one elsewhere"
        )
    if out.is_dir() and not is_prepared(out / DATA) and any(not path.name.startswith(".") for path in out.iterdir()):
        raise DataError(
            f"{out} is not empty and holds no training of a ProGAN; give a folder that is empty or does not exist yet"
        )


def _check_keys(out: Path, stages: Sequence[StageSpec]) -> None:
    """Refuse an output folder in which a stage has another recipe: its curves and samples are not to be mixed."""
    for stage, key in zip(stages, stage_keys(stages), strict=True):
        path = out / f"{stage.resolution}px" / "spec.json"
        if path.is_file() and read_json(path).get("key") != key:
            raise CheckpointError(
                f"{out} holds another training: at {stage.resolution} px its settings or seed differ; "
                "give another output folder, or remove this one"
            )
