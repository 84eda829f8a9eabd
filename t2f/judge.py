"""The judge: a small image-text model that never trains a generator, and says whether a face fits its caption.

It is trained once on the captioned images of a prepared data set's training split, at each of its resolutions, and
frozen. Where the data knows its attributes (the demo faces do), the judge also names them in a picture. Data without
captions has no judge.

B batch, T tokens, W word vector, F features, J judge's embedding, A attributes, R resolution in px
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256
from t2f.data import PreparedData, Split
from t2f.errors import CheckpointError, DataError
from t2f.layers import stream_seed
from t2f.portions import portion
from t2f.probe import NO_JUDGE

JUDGE_VERSION = 1
INPUT_RESOLUTION = 32  # px; smaller images are enlarged, larger ones reduced
EMBEDDING = 128
WORD = 64


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    steps: int = 1200
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


class Judge(nn.Module):
    """Image tower, text tower, attribute heads; embeddings are unit vectors, whose product says how well they fit."""

    def __init__(self, vocabulary_size: int, attribute_sizes: tuple[int, ...]) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1) for inputs, outputs in pairwise(widths)
        )
        self.image_out = nn.Linear(128 * 16, EMBEDDING)
        self.words = nn.Embedding(vocabulary_size, WORD)
        # Neighbouring words are seen together: which colour belongs to the hair and which to the skin.
        self.phrases = nn.Conv1d(WORD, 2 * EMBEDDING, 5, padding=2)
        self.text_out = nn.Linear(2 * EMBEDDING, EMBEDDING)
        self.attribute_heads = nn.ModuleList(nn.Linear(128 * 16, size) for size in attribute_sizes)
        self.log_temperature = nn.Parameter(torch.tensor(2.0))

    def features(self, images_B3RR: Tensor) -> Tensor:
        """features_BF of uint8 or float images in 0..255, of any resolution."""
        x = images_B3RR.float() / 127.5 - 1
        if x.shape[-1] != INPUT_RESOLUTION:
            size = (INPUT_RESOLUTION, INPUT_RESOLUTION)
            x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        return x.flatten(1)

    def pooled_features(self, images_B3RR: Tensor) -> Tensor:
        """features_B128: the last convolution's means over the picture, for distances between sets."""
        return self.features(images_B3RR).unflatten(1, (-1, 16)).mean(dim=2)

    def embed_images(self, images_B3RR: Tensor) -> Tensor:
        return functional.normalize(self.image_out(self.features(images_B3RR)), dim=1)

    def embed_text(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Unit vectors; tokens beyond lengths_B are not looked at."""
        tokens_BT = tokens_BT[:, : int(lengths_B.max())]
        padding_BT = torch.arange(tokens_BT.shape[1])[None, :] >= lengths_B[:, None]
        words_BTW = self.words(tokens_BT).masked_fill(padding_BT[:, :, None], 0)
        phrases_BFT = functional.relu(self.phrases(words_BTW.transpose(1, 2)))
        pooled_BF = phrases_BFT.masked_fill(padding_BT[:, None, :], 0).amax(dim=2)
        return functional.normalize(self.text_out(pooled_BF), dim=1)

    @torch.no_grad()
    def embed_all_images(self, images_N3RR: Tensor) -> Tensor:
        """`embed_images` of any number of pictures."""
        size = portion(images_N3RR.shape[-1], most=256)
        return torch.cat([self.embed_images(images) for images in images_N3RR.split(size)])

    @torch.no_grad()
    def attributes(self, images_N3RR: Tensor) -> Tensor:
        """The most likely value of each attribute: int64 attributes_NA."""
        found = []
        for images in images_N3RR.split(portion(images_N3RR.shape[-1], most=256)):
            features_BF = self.features(images)
            found.append(torch.stack([head(features_BF).argmax(dim=1) for head in self.attribute_heads], dim=1))
        return torch.cat(found)


def attribute_sizes(data: PreparedData) -> tuple[int, ...]:
    return tuple(len(values) for values in data.attribute_values.values())


def train_judge(
    data: PreparedData, *, options: JudgeOptions, progress: Callable[[int, int], None] | None = None
) -> Judge:
    """A judge of this data: contrastive over captions (arXiv:2103.00020, figure 3), cross-entropy over attributes."""
    split = data.split("train")
    torch_random = torch.Generator().manual_seed(stream_seed(options.seed, "judge"))
    random = np.random.default_rng([options.seed, JUDGE_VERSION])
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(options.seed, "judge weights"))
        judge = Judge(len(data.vocabulary), attribute_sizes(data))
    optimizer = torch.optim.Adam(judge.parameters(), lr=options.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=options.learning_rate,
        total_steps=options.steps,
        pct_start=max(0.1, 2 / options.steps),  # two steps of warm-up at least: PyTorch divides by one less
    )
    caches = [split.images(resolution) for resolution in data.resolutions]
    # Half of the batches are of the finest resolution, where there is most to see.
    shares = np.full(len(caches), 0.5 / max(1, len(caches) - 1))
    shares[-1] = 1 - shares[:-1].sum()
    for step in range(options.steps):
        rows = random.choice(split.captioned_N, size=min(options.batch, len(split.captioned_N)), replace=False)
        cache = caches[random.choice(len(caches), p=shares)]
        images = _jittered(torch.from_numpy(cache[rows]), torch_random)
        loss = _judge_loss(judge, images, rows, split, random)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None and step % 20 == 19:
            progress(step + 1, options.steps)
    return judge.eval().requires_grad_(False)


def _jittered(images_B3RR: Tensor, random: torch.Generator) -> Tensor:
    """Noise of a few grey levels: generated images have some, and the judge must not stumble over it."""
    return images_B3RR + 6.0 * torch.randn(images_B3RR.shape, generator=random)


def _judge_loss(judge: Judge, images: Tensor, rows: np.ndarray, split: Split, random: np.random.Generator) -> Tensor:
    offsets = split.caption_offsets
    counts = offsets[rows + 1] - offsets[rows]
    captions = offsets[rows] + (random.random(len(rows)) * counts).astype(np.int64)
    tokens_BT = torch.from_numpy(split.tokens_MT[captions].astype(np.int64))
    text_BJ = judge.embed_text(tokens_BT, torch.from_numpy(split.token_lengths_M[captions]))
    features_BF = judge.features(images)
    images_BJ = functional.normalize(judge.image_out(features_BF), dim=1)
    logits_BB = images_BJ @ text_BJ.T * judge.log_temperature.clamp(max=4.6).exp()
    # Two images with the same words are no negatives of each other.
    groups = torch.from_numpy(split.caption_text_group_M[captions])
    same_BB = (groups[:, None] == groups[None, :]) & ~torch.eye(len(rows), dtype=torch.bool)
    logits_BB = logits_BB.masked_fill(same_BB, -1e4)
    target_B = torch.arange(len(rows))
    loss = (functional.cross_entropy(logits_BB, target_B) + functional.cross_entropy(logits_BB.T, target_B)) / 2
    for column, head in enumerate(judge.attribute_heads):
        loss = loss + functional.cross_entropy(head(features_BF), torch.from_numpy(split.attributes_NA[rows, column]))
    return loss


# Kept with the prepared data


def judge_path(data: PreparedData) -> Path:
    return data.path / "judge" / "judge.safetensors"


def save_judge(judge: Judge, data: PreparedData, *, options: JudgeOptions) -> str:
    """Write the judge beside the data and return the SHA-256 that names it."""
    state = judge.state_dict()
    sha256 = tensors_sha256(state)
    metadata = {"data_key": data.key, "version": JUDGE_VERSION, "sha256": sha256, "steps": options.steps}
    save_tensors(judge_path(data), state, metadata)
    return sha256


def load_judge(data: PreparedData) -> tuple[Judge | None, str]:
    """The frozen judge of a prepared data set and its SHA-256; DataError where there is none that fits.

    None and NO_JUDGE for data without captions.
    """
    if not data.has_captions:
        return None, NO_JUDGE
    path = judge_path(data)
    if not path.exists():
        raise DataError(f"{path} does not exist: this data set has no judge. Run `t2f data prepare` again")
    try:
        state, metadata = load_tensors(path)
    except CheckpointError as error:
        raise DataError(f"{error}. Run `t2f data prepare` again") from error
    if metadata.get("data_key") != data.key or metadata.get("version") != JUDGE_VERSION:
        raise DataError(f"{path} was trained on other data or by another version. Run `t2f data prepare` again")
    judge = Judge(len(data.vocabulary), attribute_sizes(data))
    # Hashed as it was read: what has the recorded hash has the shapes that were written with it.
    if tensors_sha256(state) != metadata.get("sha256"):
        raise DataError(f"{path} is damaged: its weights do not have the recorded hash. Run `t2f data prepare` again")
    try:
        judge.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path} is no judge of this data ({error}). Run `t2f data prepare` again") from error
    return judge.eval().requires_grad_(False), metadata["sha256"]
