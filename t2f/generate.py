"""From a sentence to faces: the model bundle, one file that holds all it takes.

N faces, M sentences, S seeds, Z latent, E text embedding, R resolution in px
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2f.card import ModelCard
from t2f.checkpoint import SavedFile, load_tensors, save_tensors, tensors_sha256
from t2f.data import Vocabulary
from t2f.data.words import UNKNOWN, split_words
from t2f.description import check_description, described
from t2f.errors import CheckpointError, SpecError
from t2f.frozen import FrozenGenerator
from t2f.layers import stream_seed
from t2f.networks import FaceModel
from t2f.reading import Reader, reader_for
from t2f.settings import SETTINGS, Settings, scope_of
from t2f.spec import RESOLUTIONS, StageSpec
from t2f.typed import has_words, tidy_sentence

MAX_FACES = 1024
MAX_PIXELS = 2**27  # of all faces drawn at once
MAX_NAMED = 20  # words that are named as unknown; finding the nearest of each takes time
SENTENCES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model that can be asked for faces."""

    model: FaceModel
    vocabulary: Vocabulary
    reader: Reader
    stage: StageSpec
    max_tokens: int
    sha256: str  # of the weights
    lineage: Mapping[str, Any]  # data, sweep, trial and stage run it comes from

    @property
    def resolution(self) -> int:
        return self.stage.resolution

    @property
    def reads_words(self) -> bool:
        """Whether sentences mean anything to it; a model without words draws any face."""
        return self.model.encoder is not None

    def unknown_words(self, sentence: str) -> dict[str, str | None]:
        """The first words that the model never read, each with the nearest one that it knows."""
        if self.stage.settings.text.encoder != "lstm":
            return {}  # a sentence encoder reads any word by its parts
        unknown = self.vocabulary.unknown_words(" ".join(split_words(sentence)[: self.max_tokens]))
        return {word: self.vocabulary.nearest(word) for word in unknown[:MAX_NAMED]}

    def words_left_out(self, sentence: str) -> int:
        """How many words at the end of the sentence are beyond what the model reads."""
        if self.stage.settings.text.encoder != "lstm":
            return 0
        return max(0, len(split_words(sentence)) - self.max_tokens)

    def draw(self, sentences: Sequence[str], *, seeds: Sequence[int], truncation: float = 1.0) -> np.ndarray:
        """uint8 [len(sentences) * len(seeds), 3, R, R], sentence by sentence: each with every seed's noise.

        truncation in [0, 1] scales the noise: smaller is nearer to the average face. The same call gives the same
        pictures; among other faces a picture may differ by a grey level, as sums are taken in another order.
        """
        self._check_count(len(sentences) * len(seeds))
        noise_SZ = self.noise(seeds, truncation=truncation)
        text_ME = self.embed(sentences)
        latents = [self.latents(None if text_ME is None else text_ME[row], noise_SZ) for row in range(len(sentences))]
        return self.draw_latents(torch.cat(latents))

    def check_draw(self, sentences: Sequence[str], seeds: Sequence[int]) -> None:
        """SpecError where `draw` would refuse these."""
        self._check_count(len(sentences) * len(seeds))
        for sentence in sentences:
            self._readable(sentence)

    def _check_count(self, count: int) -> None:
        if not 1 <= count <= MAX_FACES:
            raise SpecError(f"{count} faces were asked for; 1 to {MAX_FACES} can be drawn at once")
        self._check_pixels(count)

    def _check_pixels(self, count: int) -> None:
        if count * self.resolution**2 > MAX_PIXELS:
            most = max(1, MAX_PIXELS // self.resolution**2)
            raise SpecError(
                f"{count} faces of {self.resolution} px were asked for; at most {most} can be drawn at once"
            )

    # The steps of drawing

    @torch.no_grad()
    def embed(self, sentences: Sequence[str]) -> Tensor | None:
        """text_ME; None for a model without words. SpecError for a sentence that means nothing to the model."""
        sentences = [self._readable(sentence) for sentence in sentences]
        captions = self.reader.of_sentences(sentences)
        parts = [slice(first, first + SENTENCES_AT_ONCE) for first in range(0, len(sentences), SENTENCES_AT_ONCE)]
        embedded = [self.model.embed(captions.rows(rows)) for rows in parts]
        return None if embedded[0] is None else torch.cat(embedded)

    def noise(self, seeds: Sequence[int], *, truncation: float = 1.0) -> Tensor:
        """noise_SZ of the seeds, standard normal times the truncation."""
        if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not 0 <= truncation <= 1:
            raise SpecError(f"truncation = {truncation} is not allowed; it must be a number from 0 to 1")
        return truncation * torch.cat([self._noise(seed) for seed in seeds])

    @torch.no_grad()
    def latents(self, text_E: Tensor | None, noise_NZ: Tensor) -> Tensor:
        """latent_NZ of one sentence under each noise."""
        text_NE = None if text_E is None else text_E.expand(len(noise_NZ), -1)
        return self.model.latent(text_NE, noise_NZ)[0]

    @torch.no_grad()
    def draw_latents(self, latent_NZ: Tensor) -> np.ndarray:
        """uint8 [N, 3, R, R]"""
        self._check_pixels(len(latent_NZ))
        return self._frozen.draw_many(latent_NZ).numpy()

    @cached_property
    def _frozen(self) -> FrozenGenerator:
        return FrozenGenerator(self.model.generator)

    def _readable(self, sentence: str) -> str:
        sentence = tidy_sentence(sentence)
        if self.reads_words and not has_words(sentence):
            raise SpecError(f"the sentence {sentence!r} has no words; describe a face, for example 'brown hair'")
        if not self.reads_words and has_words(sentence):
            raise SpecError(
                f"this model was trained without words, so the sentence {sentence!r} means nothing to it; leave it out"
            )
        return sentence

    def _noise(self, seed: int) -> Tensor:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise SpecError(f"seed = {seed!r} is not allowed; it must be a whole number from 0 to 4294967295")
        random = torch.Generator().manual_seed(stream_seed(seed, "generate"))
        return torch.randn(1, self.model.latent_size, generator=random)


def init_weights(bundle: Bundle, vocabulary: Vocabulary, settings: Settings) -> dict[str, torch.Tensor]:
    """The bundle's weights for a face model of these settings and this vocabulary, to start a training from.

    Words that the bundle never read start as its unknown word. SpecError where the two differ in shape; layers of
    resolutions that the bundle does not have are left out, and so start from the seed.
    """
    own, theirs = settings, bundle.stage.settings
    differing = [
        f"{name} = {own.flat()[name]!r} (the bundle: {theirs.flat()[name]!r})"
        for name in SETTINGS
        if scope_of(name) == "architecture"
        and not name.startswith(("network.feature_", "discriminator."))
        and own.flat()[name] != theirs.flat()[name]
    ]
    differing += [
        f"{own.features(resolution)} feature maps at {resolution} px (the bundle: {theirs.features(resolution)})"
        for resolution in RESOLUTIONS[: bundle.stage.index + 1]
        if own.features(resolution) != theirs.features(resolution)
    ]
    if differing:
        raise SpecError(
            f"init_from: the model has other shapes than this training: {'; '.join(differing)}. "
            "Take over its settings, or start without it"
        )
    weights = dict(bundle.model.state_dict())
    place_of = {word: place for place, word in enumerate(bundle.vocabulary.words)}
    rows = [place_of.get(word, UNKNOWN) for word in vocabulary.words]
    for table in ("encoder.words.weight", "encoder.word_bag_VF"):
        if table in weights:
            weights[table] = weights[table][rows]
    return weights


# The file


def save_bundle(
    path: Path,
    *,
    model: FaceModel,
    vocabulary: Vocabulary,
    stage: StageSpec,
    max_tokens: int,
    lineage: Mapping[str, Any],
    card: ModelCard = ModelCard(),
) -> SavedFile:
    """Write a stage's EMA model with all that drawing needs as one safetensors file."""
    tensors = model.state_dict()
    metadata = described(
        {
            "stage": stage.to_json(),
            "vocabulary": list(vocabulary.words),
            "max_tokens": max_tokens,
            "lineage": dict(lineage),
            "card": card.to_json(),
            "sha256": tensors_sha256(tensors),
        }
    )
    return save_tensors(path, tensors, metadata)


def open_bundle(path: Path) -> Bundle:
    """The model in a bundle file; CheckpointError where it is damaged, foreign or does not fit."""
    tensors, metadata = load_tensors(path)
    check_description(path, metadata)
    if tensors_sha256(tensors) != metadata["sha256"]:
        raise CheckpointError(f"{path} is damaged: its weights do not have the recorded SHA-256")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(f"{path} holds weights that are not finite numbers")
    try:
        stage = StageSpec.from_json(metadata["stage"])
        vocabulary = Vocabulary(tuple(metadata["vocabulary"]))
        model = _filled_model(stage, len(vocabulary), tensors)
        reader = reader_for(stage, vocabulary, metadata["max_tokens"])
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    return Bundle(
        model=model,
        vocabulary=vocabulary,
        reader=reader,
        stage=stage,
        max_tokens=metadata["max_tokens"],
        sha256=metadata["sha256"],
        lineage=metadata["lineage"],
    )


def _filled_model(stage: StageSpec, vocabulary_size: int, tensors: Mapping[str, Tensor]) -> FaceModel:
    """A model of these weights; RuntimeError or TypeError where they have other shapes or types than the stage's."""
    for name, shape in _large_tensors(stage, vocabulary_size).items():
        # Before anything is built: a description can ask for any size, but only what is in the file is ever allocated.
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise RuntimeError(f"{name} is not of the shape {shape}")
    model = FaceModel(stage, vocabulary_size)
    for name, wanted in model.state_dict().items():
        if name in tensors and tensors[name].dtype != wanted.dtype:
            raise TypeError(f"{name} is {tensors[name].dtype}, not {wanted.dtype}")
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


def _large_tensors(stage: StageSpec, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that most of a model's memory is for."""
    features, text = stage.features, stage.settings.text
    shapes: dict[str, tuple[int, ...]] = {"generator.first.weight": (16 * features[0], stage.settings.network.latent)}
    for resolution, (inputs, outputs) in zip(RESOLUTIONS[1:], pairwise(features), strict=False):
        shapes[f"generator.blocks.{resolution}.conv1.weight"] = (outputs, inputs, 3, 3)
    if text.encoder == "lstm":
        shapes["encoder.words.weight"] = (vocabulary_size, text.word_embedding)
        shapes[f"encoder.lstm.weight_hh_l{text.layers - 1}"] = (4 * text.hidden, text.hidden)
        if text.word_bag:
            shapes["encoder.word_bag_VF"] = (vocabulary_size, text.word_bag)
    return shapes
