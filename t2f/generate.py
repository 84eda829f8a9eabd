"""From a sentence to faces: the model bundle, one file that holds all it takes.

B batch, R resolution in px
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2f.checkpoint import SavedFile, load_tensors, save_tensors, tensors_sha256
from t2f.data import Vocabulary
from t2f.data.words import UNKNOWN
from t2f.errors import CheckpointError, SpecError
from t2f.layers import stream_seed
from t2f.networks import FaceModel
from t2f.reading import Reader, reader_for
from t2f.settings import SETTINGS, Settings, scope_of
from t2f.spec import RESOLUTIONS, StageSpec

BUNDLE_VERSION = 1
MAX_FACES = 1024


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
        """Words that the model never read, each with the nearest one that it knows."""
        if self.stage.settings.text.encoder != "lstm":
            return {}  # a sentence encoder reads any word by its parts
        return {word: self.vocabulary.nearest(word) for word in self.vocabulary.unknown_words(sentence)}

    @torch.no_grad()
    def draw(self, sentences: Sequence[str], *, seeds: Sequence[int], truncation: float = 1.0) -> np.ndarray:
        """uint8 [len(sentences) * len(seeds), 3, R, R], sentence by sentence: each with every seed's noise.

        truncation in [0, 1] scales the noise: smaller is nearer to the average face. The same sentence, seed and
        truncation give the same picture.
        """
        if not 1 <= len(sentences) * len(seeds) <= MAX_FACES:
            raise SpecError(
                f"{len(sentences) * len(seeds)} faces were asked for; 1 to {MAX_FACES} can be drawn at once"
            )
        if not 0 <= truncation <= 1:
            raise SpecError(f"truncation = {truncation} is not allowed; it must be a number from 0 to 1")
        for sentence in sentences:
            self._check(sentence)
        noise_BZ = truncation * torch.cat([self._noise(seed) for seed in seeds])
        captions = self.reader.of_sentences(sentences)
        pictures = []
        for row in range(len(sentences)):
            text_BE = self.model.embed(captions.rows(slice(row, row + 1)))
            text_BE = None if text_BE is None else text_BE.expand(len(seeds), -1)
            pictures.append(self.model.draw(text_BE, noise_BZ))
        return torch.cat(pictures).numpy()

    def _check(self, sentence: str) -> None:
        has_words = any(character.isalnum() for character in sentence)
        if self.reads_words and not has_words:
            raise SpecError(f"the sentence {sentence!r} has no words; describe a face, for example 'brown hair'")
        if not self.reads_words and has_words:
            raise SpecError(
                f"this model was trained without words, so the sentence {sentence!r} means nothing to it; leave it out"
            )

    def _noise(self, seed: int) -> torch.Tensor:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise SpecError(f"seed = {seed!r} is not allowed; it must be a whole number from 0 to 4294967295")
        random = torch.Generator().manual_seed(stream_seed(seed, "generate"))
        return torch.randn(1, self.model.conditioning_size + self.model.noise_size, generator=random)


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


def save_bundle(
    path: Path,
    *,
    model: FaceModel,
    vocabulary: Vocabulary,
    stage: StageSpec,
    max_tokens: int,
    lineage: Mapping[str, Any],
) -> SavedFile:
    """Write a stage's EMA model with all that drawing needs as one safetensors file."""
    tensors = model.state_dict()
    metadata = {
        "bundle_version": BUNDLE_VERSION,
        "stage": stage.to_json(),
        "vocabulary": vocabulary.to_json(),
        "max_tokens": max_tokens,
        "lineage": dict(lineage),
        "sha256": tensors_sha256(tensors),
    }
    return save_tensors(path, tensors, metadata)


def open_bundle(path: Path) -> Bundle:
    """The model in a bundle file; CheckpointError where it is damaged, foreign or does not fit."""
    tensors, metadata = load_tensors(path)
    if metadata.get("bundle_version") != BUNDLE_VERSION:
        raise CheckpointError(
            f"{path} is no model bundle of version {BUNDLE_VERSION} (it says {metadata.get('bundle_version')!r}); "
            "`t2f best SWEEP` names the bundle of a sweep"
        )
    if tensors_sha256(tensors) != metadata["sha256"]:
        raise CheckpointError(f"{path} is damaged: its weights do not have the recorded SHA-256")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(f"{path} holds weights that are not finite numbers")
    stage = StageSpec.from_json(metadata["stage"])
    vocabulary = Vocabulary.from_json(metadata["vocabulary"])
    model = FaceModel(stage, len(vocabulary))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    return Bundle(
        model=model.eval().requires_grad_(False),
        vocabulary=vocabulary,
        reader=reader_for(stage, vocabulary, metadata["max_tokens"]),
        stage=stage,
        max_tokens=metadata["max_tokens"],
        sha256=metadata["sha256"],
        lineage=metadata["lineage"],
    )
