"""Training one stage: steps, the moving average, the state that a checkpoint holds, and noticing divergence.

B batch, Z latent, E text embedding, U distinct captions of a batch, R resolution in px

Every random number of step n is drawn from a stream that is named by (seed, resolution, n). There is no RNG state to
save: images seen say it all, and a run that goes on from any step takes the same numbers as one that never stopped.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from t2f.augment import Transform, apply, draw_transform, next_strength
from t2f.checkpoint import tensors_sha256
from t2f.data import PreparedData
from t2f.data.words import rarity
from t2f.errors import CheckpointError
from t2f.layers import stream_seed
from t2f.loader import LoadedBatch, Loader
from t2f.losses import LOSSES, PenaltyInputs, Scores
from t2f.networks import Discriminator, FaceModel, fade_reals, start_as_identity, take_over
from t2f.precision import autocast, warn_if_emulated
from t2f.ranks import Ranks
from t2f.reading import data_reader
from t2f.settings import Settings
from t2f.spec import StageSpec
from t2f.stages import Position, images_per_step, num_steps, position
from t2f.text import LstmEncoder

# A critic whose scores leave this range has diverged; healthy ones stay within tens.
SCORE_BOUND = 1e3
# Generated images that differ from each other less than this share of what real ones do have collapsed into one.
DIVERSITY_BOUND = 0.02


class DivergedError(ArithmeticError):
    """The training left the range of sense; `evidence` says which figure did, and when."""

    def __init__(self, evidence: Mapping[str, float | str]) -> None:
        super().__init__(", ".join(f"{name} = {value}" for name, value in evidence.items()))
        self.evidence = dict(evidence)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of one D step and the G step that may follow it, for the rows of the whole batch."""

    d_noise_BZ: Tensor
    g_noise_BZ: Tensor
    mix_B111: Tensor  # for the gradient penalty
    d_transform: Transform | None  # None: D sees the images as they are
    g_transform: Transform | None  # of the faces that G is trained by

    def rows(self, rows: slice) -> "Draws":
        return Draws(
            d_noise_BZ=self.d_noise_BZ[rows],
            g_noise_BZ=self.g_noise_BZ[rows],
            mix_B111=self.mix_B111[rows],
            d_transform=None if self.d_transform is None else self.d_transform.rows(rows),
            g_transform=None if self.g_transform is None else self.g_transform.rows(rows),
        )


@dataclass(frozen=True, kw_only=True)
class Text:
    """The captions of one batch, encoded once: D's and G's gradients are collected on a leaf and go back together."""

    psi_UE: Tensor  # with the encoder's graph
    leaf_UE: Tensor  # the same values, a leaf
    right_B: Tensor  # int64 rows; U: no caption
    wrong_B: Tensor

    def embeddings(self, places_B: Tensor, *, learns: bool) -> Tensor:
        """text_BE at these places; zeros for no caption. learns: gradients reach the leaf."""
        leaf_UE = self.leaf_UE if learns else self.leaf_UE.detach()
        return torch.cat([leaf_UE, leaf_UE.new_zeros(1, leaf_UE.shape[1])])[places_B]


class StageTrainer:
    """One stage in training. `step()` until `position.is_finished`; `state()` at any moment between two steps."""

    def __init__(
        self,
        stage: StageSpec,
        data: PreparedData,
        *,
        parent: Mapping[str, Tensor] | None = None,
        init: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
        ranks: Ranks | None = None,
    ) -> None:
        """parent: the state of the stage before, as `state()` gave it; None at 4 px.

        init: weights of a face model that layers without a parent start from (`bundle_weights`). ranks: this process's
        place among several that train together.
        """
        if (parent is None) != (stage.index == 0):
            raise CheckpointError(
                f"a stage of {stage.resolution} px starts from {'nothing' if stage.index == 0 else 'its parent'}"
            )
        self.stage = stage
        self.device = torch.device(device)
        self.ranks = ranks or Ranks()
        if self.ranks.rank == 0:
            warn_if_emulated(stage.settings.compute.precision, self.device)
        self._step = 0
        rows = self.ranks.rows(stage)
        split = data.split("train")
        self._loader = Loader(stage, split, rows, data_reader(stage, data))
        self._rows = rows
        self._parts = [slice(first, last) for first, last in micro_batches(rows, stage.settings.compute.micro_batch)]
        self.face_model = FaceModel(stage, len(data.vocabulary)).to(self.device)
        self.discriminator = Discriminator(stage).to(self.device)
        if parent is None and isinstance(self.face_model.encoder, LstmEncoder):
            rarity_V = torch.from_numpy(rarity(split.tokens_MT, len(data.vocabulary)))
            self.face_model.encoder.fill_word_bag(rarity_V, seed=stage.seed)
        if init is not None:
            take_over(self.face_model, init)
        if parent is not None:
            take_over(self.face_model, _part(parent, "face_model."))
            take_over(self.discriminator, _part(parent, "discriminator."))
        self.ema = copy.deepcopy(self.face_model).requires_grad_(False)
        if parent is not None:
            take_over(self.ema, _part(parent, "ema."))
            if stage.settings.network.new_blocks == "identity":
                self._start_as_identity(init or {})
        self._optimizers = {
            "face_model": self._adam(self.face_model, stage.settings.generator.learning_rate),
            "discriminator": self._adam(
                self.discriminator,
                stage.settings.discriminator.learning_rate,
                penalty_interval=stage.settings.loss.penalty_interval,
            ),
        }
        if parent is not None and stage.settings.optimizer.at_stage_start == "carry":
            self._load_optimizers(parent)
        self._augment_kinds = augment_kinds(stage.settings)
        self.augment_strength = stage.settings.augment.strength if self._augment_kinds else 0.0
        # Sum and count of each curve since the last report, on the device so that no step waits for it.
        self._curves: dict[str, Tensor] = {}
        self._loss = LOSSES[stage.settings.loss.name]

    def _start_as_identity(self, init: Mapping[str, Tensor]) -> None:
        """Blocks that neither the parent nor `init` has."""
        start_as_identity(self.discriminator)
        if f"generator.blocks.{self.stage.resolution}.conv1.weight" not in init:
            start_as_identity(self.face_model)
            start_as_identity(self.ema)

    # Steps

    @property
    def position(self) -> Position:
        return position(self.stage, self._step)

    def step(self) -> None:
        """Train D `discriminator.steps` times and G once, on fresh batches."""
        alpha = self.position.alpha
        d_steps = self.stage.settings.discriminator.steps
        for number in range(self._step * d_steps, (self._step + 1) * d_steps):
            batch = self._loader.get(number).to(self.device)
            draws = self._draw(number)
            text = self._read(batch)
            self._discriminator_step(batch, text, draws, number, alpha)
        self._generator_step(batch, text, draws, alpha)
        self._update_ema()
        self._step += 1

    def _draw(self, number: int) -> Draws:
        stage, model = self.stage, self.face_model
        random = torch.Generator(self.device).manual_seed(
            stream_seed(stage.seed, f"{stage.resolution}px/d_step{number}")
        )
        size = model.conditioning_size + model.noise_size

        def transform() -> Transform | None:
            if not self._augment_kinds:
                return None
            return draw_transform(
                stage.batch,
                stage.resolution,
                kinds=self._augment_kinds,
                strength=self.augment_strength,
                generator=random,
                device=self.device,
            )

        return Draws(
            d_noise_BZ=torch.randn(stage.batch, size, generator=random, device=self.device),
            mix_B111=torch.rand(stage.batch, 1, 1, 1, generator=random, device=self.device),
            g_noise_BZ=torch.randn(stage.batch, size, generator=random, device=self.device),
            d_transform=transform(),
            g_transform=transform(),
        )

    def _read(self, batch: LoadedBatch) -> Text | None:
        """The batch's captions, encoded; None for a model without words."""
        if self.face_model.encoder is None:
            return None
        if batch.captions is None:  # all dropped
            psi_UE = torch.zeros(0, self.stage.settings.text.size, device=self.device)
        else:
            with autocast(self.stage.settings.compute.precision, self.device):
                psi_UE = self.face_model.embed(batch.captions).float()
        # Gradients reach the encoder once, at the end of the G step: they are collected on this leaf.
        leaf_UE = psi_UE.detach().requires_grad_()
        return Text(psi_UE=psi_UE, leaf_UE=leaf_UE, right_B=batch.right_B, wrong_B=batch.wrong_B)

    def _discriminator_step(
        self, batch: LoadedBatch, text: Text | None, draws: Draws, number: int, alpha: float
    ) -> None:
        optimizer = self._optimizers["discriminator"]
        optimizer.zero_grad(set_to_none=True)
        sign = torch.zeros((), device=self.device)
        for part in self._parts:
            share = (part.stop - part.start) / (self._rows.stop - self._rows.start)
            with autocast(self.stage.settings.compute.precision, self.device):
                loss, right_B = self._discriminator_loss(batch, text, draws.rows(part), self._own(part), number, alpha)
            (loss * share).backward()
            sign += right_B.sign().mean() * share
        self.ranks.average_gradients(list(self.discriminator.parameters()), [sign])
        optimizer.step()
        if self.stage.settings.augment.method == "ada":
            self._note(augment_strength=torch.tensor(self.augment_strength, device=self.device), sign_right=sign)
            self.augment_strength = next_strength(
                self.augment_strength,
                sign_mean=float(sign),
                target=self.stage.settings.augment.target,
                images=self.stage.batch,
                images_for_full=self.stage.settings.augment.images,
            )

    def _discriminator_loss(
        self, batch: LoadedBatch, text: Text | None, draws: Draws, own: slice, number: int, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """D's loss with its penalty for some rows, and their right_B; `own` says where they are in the loaded batch."""
        loss, discriminator = self.stage.settings.loss, self.discriminator
        penalty_due = number % loss.penalty_interval == 0
        right_text, wrong_text, wrong_weight_B = self._pairs(text, own)
        real = fade_reals(as_floats(batch.images_B3RR[own]), alpha)
        with torch.no_grad():
            latent_BZ, _ = self.face_model.latent(right_text, draws.d_noise_BZ)
            fake = self.face_model.generator(latent_BZ, alpha).float()
            self._note(diversity=deviation(fake) / deviation(real).clamp(min=1e-6))
            # Penalties are taken at what D sees: D is to be smooth there, whatever the transform did before.
            real, fake = transformed(draws.d_transform, real), transformed(draws.d_transform, fake)
        real.requires_grad_(penalty_due and "real" in self._loss.penalised)
        fake.requires_grad_(penalty_due and "fake" in self._loss.penalised)

        def score(images: Tensor) -> Tensor:
            return discriminator(images, right_text, alpha)

        trunk = discriminator.trunk(real, alpha)
        scores = Scores(
            right_B=discriminator.judge(trunk, right_text),
            fake_B=score(fake),
            wrong_B=None if wrong_text is None else discriminator.judge(trunk, wrong_text),
            wrong_weight_B=wrong_weight_B,
        )
        total = value = self._loss.discriminator(scores, loss)
        if penalty_due:
            penalty = self._loss.penalty(
                PenaltyInputs(
                    real=real,
                    right_B=scores.right_B,
                    fake=fake,
                    fake_B=scores.fake_B,
                    mix_B111=draws.mix_B111,
                    score=score,
                    loss=loss,
                )
            )
            # Lazy regularisation (StyleGAN2 section 3.1): seldom, and as much stronger.
            total = value + penalty * loss.penalty_interval
            self._note(penalty=penalty)
        self._note(loss_d=value, score_right=scores.right_B.mean(), score_fake=scores.fake_B.mean())
        if scores.wrong_B is not None:
            # Rows without a wrong caption have a score that means nothing.
            has_wrong_B = (wrong_weight_B > 0).float()
            self._note_sum("score_wrong", (has_wrong_B * scores.wrong_B).sum(), has_wrong_B.sum())
        return total, scores.right_B.detach()

    def _pairs(self, text: Text | None, own: slice) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """D's embeddings of right and wrong captions, and what the wrong ones weigh: nothing where there is none."""
        if text is None:
            return None, None, torch.zeros(own.stop - own.start, device=self.device)
        learns = self.stage.settings.text.trained_by == "both"
        has_wrong_B = text.wrong_B[own] < len(text.leaf_UE)
        right_text = text.embeddings(text.right_B[own], learns=learns)
        wrong_text = text.embeddings(text.wrong_B[own], learns=learns)
        return right_text, wrong_text, self.stage.settings.loss.mismatched_weight * has_wrong_B

    def _generator_step(self, batch: LoadedBatch, text: Text | None, draws: Draws, alpha: float) -> None:
        optimizer = self._optimizers["face_model"]
        optimizer.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        for part in self._parts:
            share = (part.stop - part.start) / (self._rows.stop - self._rows.start)
            with autocast(self.stage.settings.compute.precision, self.device):
                loss = self._generator_loss(batch, text, draws.rows(part), self._own(part), alpha)
            (loss * share).backward()
        if text is not None and len(text.leaf_UE):
            text.psi_UE.backward(text.leaf_UE.grad)
        self.discriminator.requires_grad_(True)
        self.ranks.average_gradients(list(self.face_model.parameters()))
        optimizer.step()

    def _generator_loss(self, batch: LoadedBatch, text: Text | None, draws: Draws, own: slice, alpha: float) -> Tensor:
        text_BE = None if text is None else text.embeddings(text.right_B[own], learns=True)
        latent_BZ, kl_B = self.face_model.latent(text_BE, draws.g_noise_BZ)
        fake = self.face_model.generator(latent_BZ, alpha).float()
        right_B = None
        if self._loss.generator_sees_reals:
            with torch.no_grad():
                real = fade_reals(as_floats(batch.images_B3RR[own]), alpha)
                right_B = self.discriminator(transformed(draws.g_transform, real), text_BE, alpha)
        total = value = self._loss.generator(
            self.discriminator(transformed(draws.g_transform, fake), text_BE, alpha), right_B
        )
        self._note(loss_g=value)
        if kl_B is not None:
            divergence = kl_B.mean()
            total = value + self.stage.settings.loss.kl_weight * divergence
            self._note(kl=divergence)
        return total

    def _own(self, part: slice) -> slice:
        """Rows of the whole batch as rows of what this rank loaded."""
        return slice(part.start - self._rows.start, part.stop - self._rows.start)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Half of the average is forgotten every `ema.half_life` images, sooner in the beginning if it ramps up."""
        ema, images = self.stage.settings.ema, images_per_step(self.stage)
        half_life = ema.half_life
        if ema.ramp_up > 0:
            half_life = min(half_life, ema.ramp_up * (self._step + 1) * images)
        keep = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.face_model.parameters()), 1 - keep)

    # Curves

    def _note(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._note_sum(name, value, torch.ones((), device=self.device))

    def _note_sum(self, name: str, total: Tensor, count: Tensor) -> None:
        before = self._curves.get(name, torch.zeros(2, device=self.device))
        self._curves[name] = before + torch.stack([total.detach().float(), count])

    def take_curves(self) -> dict[str, float]:
        """Means since the last call, over all ranks; DivergedError, on every rank, if one of them makes no sense."""
        names = list(self._curves)
        if not names:
            return {}
        sums_M2 = torch.stack(list(self._curves.values()))
        self._curves.clear()
        if self.ranks.size > 1:
            dist.all_reduce(sums_M2)
        means = dict(zip(names, (sums_M2[:, 0] / sums_M2[:, 1].clamp(min=1)).tolist(), strict=True))
        for name, value in means.items():
            limit = divergence(name, value)
            if limit is not None:
                evidence = {"curve": name, "value": repr(value), "allowed": limit}
                raise DivergedError({**evidence, "images_seen": self.position.images_seen})
        return means

    # State

    def _adam(self, network: nn.Module, learning_rate: float, *, penalty_interval: int = 1) -> torch.optim.Adam:
        """Adam; with a lazy penalty its step and memory are rescaled, as one step in `penalty_interval` counts double.

        StyleGAN2 appendix B: c = k / (k + 1), learning rate c * lr, betas beta ** c.
        """
        optimizer = self.stage.settings.optimizer
        rescale = penalty_interval / (penalty_interval + 1) if penalty_interval > 1 else 1.0
        return torch.optim.Adam(
            network.parameters(),
            lr=learning_rate * rescale,
            betas=(optimizer.beta1**rescale, optimizer.beta2**rescale),
            eps=optimizer.epsilon,
            fused=True,
        )

    def state(self) -> dict[str, Tensor]:
        """Everything that going on needs, by name, sharing memory with the training: copy or save it before a step."""
        tensors: dict[str, Tensor] = {
            "step": torch.tensor(self._step),
            "augment_strength": torch.tensor(self.augment_strength, dtype=torch.float64),
        }
        for part in ("face_model", "discriminator", "ema"):
            for name, tensor in getattr(self, part).state_dict().items():
                tensors[f"{part}.{name}"] = tensor
        for part, optimizer in self._optimizers.items():
            for name, parameter in getattr(self, part).named_parameters():
                for key, tensor in optimizer.state.get(parameter, {}).items():
                    tensors[f"adam.{part}.{name}/{key}"] = tensor
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state()` gave at some step of this stage."""
        for part in ("face_model", "discriminator", "ema"):
            try:
                getattr(self, part).load_state_dict(_part(state, f"{part}."))
            except RuntimeError as error:
                raise CheckpointError(
                    f"the checkpoint does not fit a stage of {self.stage.resolution} px: {error}"
                ) from error
        self._load_optimizers(state)
        self._step = int(state["step"])
        if not 0 <= self._step <= num_steps(self.stage):
            raise CheckpointError(f"the checkpoint is of step {self._step}, the stage has {num_steps(self.stage)}")
        self.augment_strength = float(state["augment_strength"])
        self._curves.clear()

    def _load_optimizers(self, state: Mapping[str, Tensor]) -> None:
        """Adam's means and squares of every layer that the state knows, each laid out as its parameter is.

        Fused Adam reads them by memory order and would silently pair the wrong elements of tensors with other strides.
        """
        for part, optimizer in self._optimizers.items():
            for name, parameter in getattr(self, part).named_parameters():
                stored = _part(state, f"adam.{part}.{name}/")
                if not stored:
                    continue
                restored = {"step": stored["step"].clone().to(parameter.device)}
                for key in ("exp_avg", "exp_avg_sq"):
                    restored[key] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(stored[key])
                    assert restored[key].stride() == parameter.stride()
                optimizer.state[parameter] = restored

    def weights_sha256(self) -> str:
        """The hash of the whole state: equal exactly if two trainings have the same bits."""
        return tensors_sha256(self.state())


def micro_batches(rows: slice, size: int) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of each part of the rows that is in memory at once; size 0: all rows."""
    size = size or rows.stop - rows.start
    for first in range(rows.start, rows.stop, size):
        yield first, min(first + size, rows.stop)


def augment_kinds(settings: Settings) -> frozenset[str]:
    """What `t2f.augment` may do to the images that D sees."""
    augment = settings.augment
    if augment.method == "none":
        return frozenset()
    return frozenset(kind for kind in ("color", "translation", "cutout") if getattr(augment, kind) == "on")


def transformed(transform: Transform | None, images_B3RR: Tensor) -> Tensor:
    """What D sees of images."""
    return images_B3RR if transform is None else apply(transform, images_B3RR)


def as_floats(images_B3RR: Tensor) -> Tensor:
    """float32 in [-1, 1] of uint8 images."""
    return images_B3RR.to(torch.float32).div_(127.5).sub_(1)


def deviation(images_B3RR: Tensor) -> Tensor:
    """How much images differ from each other: the standard deviation over the batch, averaged over pixels."""
    # Written out: `Tensor.std` over the batch is up to 25 times as slow on a CPU.
    images = images_B3RR.detach().float()
    return (images - images.mean(dim=0)).square_().mean(dim=0).sqrt_().mean()


def divergence(curve: str, value: float) -> str | None:
    """What is allowed for a curve whose mean left the range of sense; None for one that makes sense."""
    if not math.isfinite(value):
        return "finite numbers"
    if curve.startswith("score") and abs(value) > SCORE_BOUND:
        return f"scores within {SCORE_BOUND:g}"
    if curve == "diversity" and value < DIVERSITY_BOUND:
        return f"at least {DIVERSITY_BOUND:g} of the real images' diversity"
    return None


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
