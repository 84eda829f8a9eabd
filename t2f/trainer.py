"""Training one stage: steps, the moving average, the state that a checkpoint holds, and noticing divergence.

B batch, Z latent, E text embedding, C conditioning, R resolution in px

Every random number of step n is drawn from a stream that is named by (seed, resolution, n). There is no RNG state to
save: images seen say it all, and a run that goes on from any step takes the same numbers as one that never stopped.
"""

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from t2f.batches import Batch, BatchPlan
from t2f.checkpoint import tensors_sha256
from t2f.data import PreparedData
from t2f.errors import CheckpointError
from t2f.layers import stream_seed
from t2f.losses import LOSSES, PenaltyInputs
from t2f.networks import Discriminator, FaceModel, fade_reals, take_over
from t2f.spec import StageSpec
from t2f.stages import Position, images_per_step, num_steps, position
from t2f.text import kl_divergence

# A critic whose scores leave this range has diverged; healthy ones stay within tens.
SCORE_BOUND = 1e3


class DivergedError(ArithmeticError):
    """The training left the range of sense; `evidence` says which figure did, and when."""

    def __init__(self, evidence: Mapping[str, float | str]) -> None:
        super().__init__(", ".join(f"{name} = {value}" for name, value in evidence.items()))
        self.evidence = dict(evidence)


class StageTrainer:
    """One stage in training. `step()` until `position.is_finished`; `state()` at any moment between two steps."""

    def __init__(
        self,
        stage: StageSpec,
        data: PreparedData,
        *,
        parent: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """parent: the state of the stage before, as `state()` gave it; None at 4 px."""
        if (parent is None) != (stage.index == 0):
            raise CheckpointError(
                f"a stage of {stage.resolution} px starts from {'nothing' if stage.index == 0 else 'its parent'}"
            )
        self.stage = stage
        self.device = torch.device(device)
        self._step = 0
        self._split = data.split("train")
        self._images = self._split.images(stage.resolution)
        self._plan = BatchPlan(stage, self._split)
        self.face_model = FaceModel(stage, len(data.vocabulary)).to(self.device)
        self.discriminator = Discriminator(stage).to(self.device)
        if parent is not None:
            take_over(self.face_model, _part(parent, "face_model."))
            take_over(self.discriminator, _part(parent, "discriminator."))
        self.ema = copy.deepcopy(self.face_model).requires_grad_(False)
        if parent is not None:
            take_over(self.ema, _part(parent, "ema."))
        self._optimizers = {
            "face_model": self._adam(self.face_model, stage.settings.generator.learning_rate),
            "discriminator": self._adam(self.discriminator, stage.settings.discriminator.learning_rate),
        }
        if parent is not None and stage.settings.optimizer.at_stage_start == "carry":
            self._load_optimizers(parent)
        # Sum and count of each curve since the last report, on the device so that no step waits for it.
        self._curves: dict[str, tuple[Tensor | float, int]] = {}
        self._loss = LOSSES[stage.settings.loss.name]

    # Steps

    @property
    def position(self) -> Position:
        return position(self.stage, self._step)

    def step(self) -> None:
        """Train D `discriminator.steps` times and G once, on fresh batches."""
        settings = self.stage.settings
        alpha = self.position.alpha
        d_steps = settings.discriminator.steps
        for offset in range(d_steps):
            number = self._step * d_steps + offset
            batch = self._plan.draw(number)
            random = torch.Generator(self.device).manual_seed(
                stream_seed(self.stage.seed, f"{self.stage.resolution}px/d_step{number}")
            )
            psi_BE = self._embed(batch.caption_B)
            # Gradients reach the encoder once, at the end of the G step: they are collected on this leaf.
            text_BE = psi_BE.detach().requires_grad_()
            self._discriminator_step(batch, text_BE, random, number, alpha)
        self._generator_step(psi_BE, text_BE, random, alpha)
        self._update_ema()
        self._step += 1

    def _discriminator_step(
        self, batch: Batch, text_BE: Tensor, random: torch.Generator, number: int, alpha: float
    ) -> None:
        loss, discriminator = self.stage.settings.loss, self.discriminator
        encoder_learns = self.stage.settings.text.trained_by == "both"
        if not encoder_learns:
            text_BE = text_BE.detach()
        real = fade_reals(self._reals(batch.image_B), alpha)
        with torch.no_grad():
            latent, _, _ = self._latent(text_BE, random)
            fake = self.face_model.generator(latent, alpha)
            mix_B111 = torch.rand(len(real), 1, 1, 1, generator=random, device=self.device)
        penalty_due = number % loss.penalty_interval == 0
        real.requires_grad_(penalty_due)
        trunk = discriminator.trunk(real, alpha)
        right_B = discriminator.judge(trunk, text_BE)
        wrong_B = discriminator.judge(trunk, self._wrong_text(batch, text_BE))
        fake_B = discriminator(fake, text_BE, alpha)
        value = self._loss.discriminator(right_B, wrong_B, fake_B, loss)
        total = value
        if penalty_due:
            penalty = self._loss.penalty(
                PenaltyInputs(
                    real=real,
                    right_B=right_B,
                    fake=fake,
                    mix_B111=mix_B111,
                    score=lambda images: discriminator(images, text_BE, alpha),
                    loss=loss,
                )
            )
            # Lazy regularisation (StyleGAN2 section 3.1): seldom, and as much stronger.
            total = value + penalty * loss.penalty_interval
        optimizer = self._optimizers["discriminator"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        self._note(loss_d=value, score_right=right_B.mean(), score_wrong=wrong_B.mean(), score_fake=fake_B.mean())
        if penalty_due:
            self._note(penalty=penalty)

    def _generator_step(self, psi_BE: Tensor, text_BE: Tensor, random: torch.Generator, alpha: float) -> None:
        optimizer = self._optimizers["face_model"]
        optimizer.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        latent, mean_BC, log_variance_BC = self._latent(text_BE, random)
        fake = self.face_model.generator(latent, alpha)
        value = self._loss.generator(self.discriminator(fake, text_BE, alpha))
        divergence = kl_divergence(mean_BC, log_variance_BC).mean()
        (value + self.stage.settings.loss.kl_weight * divergence).backward()
        psi_BE.backward(text_BE.grad)
        self.discriminator.requires_grad_(True)
        optimizer.step()
        self._note(loss_g=value, kl=divergence)

    def _embed(self, caption_B: np.ndarray) -> Tensor:
        tokens_BT = torch.from_numpy(self._split.tokens_MT[caption_B].astype("int64")).to(self.device)
        return self.face_model.encoder(tokens_BT, torch.from_numpy(self._split.token_lengths_M[caption_B]))

    def _wrong_text(self, batch: Batch, text_BE: Tensor) -> Tensor:
        """Embeddings of the wrong captions: nearly always rows of the right ones, which are encoded already."""
        row_of = {int(caption): row for row, caption in enumerate(batch.caption_B)}
        rows = [row_of.get(int(caption), -1) for caption in batch.wrong_B]
        wrong_BE = text_BE[torch.tensor(rows, device=self.device)]
        missing = [row for row, source in enumerate(rows) if source < 0]
        if missing:
            wrong_BE = wrong_BE.index_copy(
                0, torch.tensor(missing, device=self.device), self._embed(batch.wrong_B[missing]).detach()
            )
        return wrong_BE

    def _latent(self, text_BE: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """latent_BZ = conditioning || noise, and the conditioning's mean_BC and log_variance_BC."""
        model = self.face_model
        size = model.conditioning_size + model.noise_size
        noise_BZ = torch.randn(len(text_BE), size, generator=random, device=self.device)
        conditioning_noise, noise = noise_BZ.split([model.conditioning_size, model.noise_size], dim=1)
        conditioning_BC, mean_BC, log_variance_BC = model.conditioning(text_BE, conditioning_noise)
        return torch.cat([conditioning_BC, noise], dim=1), mean_BC, log_variance_BC

    def _reals(self, image_B: np.ndarray) -> Tensor:
        """float32 images in [-1, 1]."""
        return torch.from_numpy(self._images[image_B]).to(self.device).to(torch.float32).div_(127.5).sub_(1)

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
            total, count = self._curves.get(name, (0.0, 0))
            self._curves[name] = (total + value.detach(), count + 1)

    def take_curves(self) -> dict[str, float]:
        """Means since the last call; DivergedError if one of them is not finite or a score is out of bounds."""
        means = {name: float(total) / count for name, (total, count) in self._curves.items()}
        self._curves.clear()
        for name, value in means.items():
            if not math.isfinite(value) or (name.startswith("score") and abs(value) > SCORE_BOUND):
                raise DivergedError({"curve": name, "value": repr(value), "images_seen": self.position.images_seen})
        return means

    # State

    def _adam(self, network: nn.Module, learning_rate: float) -> torch.optim.Adam:
        optimizer = self.stage.settings.optimizer
        return torch.optim.Adam(
            network.parameters(),
            lr=learning_rate,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            fused=True,
        )

    def state(self) -> dict[str, Tensor]:
        """Everything that going on needs, by name, sharing memory with the training: copy or save it before a step."""
        tensors: dict[str, Tensor] = {"step": torch.tensor(self._step)}
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


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
