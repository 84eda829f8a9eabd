"""How captions reach a text encoder: as token ids for an LSTM, or through a frozen sentence encoder.

N captions, S sentence embedding
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from t2f.data import PreparedData, Split, Vocabulary
from t2f.errors import CheckpointError
from t2f.sentence import SentenceEncoder, find_sentence_encoder, kept_embeddings, split_embeddings
from t2f.spec import SentenceSpec, StageSpec
from t2f.text import Captions


class Reader(Protocol):
    """Captions as one kind of encoder reads them."""

    def of_split(self, split: Split, captions_N: np.ndarray) -> Captions:
        """These captions (int64 places) of a split of the data."""

    def of_sentences(self, sentences: Sequence[str]) -> Captions:
        """Any sentences; one without words is no caption."""


@dataclass(frozen=True, kw_only=True)
class WordReader:
    """Token ids by the data's vocabulary."""

    vocabulary: Vocabulary
    max_tokens: int

    def of_split(self, split: Split, captions_N: np.ndarray) -> Captions:
        lengths_N = split.token_lengths_M[captions_N]
        tokens_NT = split.tokens_MT[captions_N, : lengths_N.max(initial=1)].astype(np.int64)
        return Captions(tokens_BT=torch.from_numpy(tokens_NT), lengths_B=torch.from_numpy(lengths_N))

    def of_sentences(self, sentences: Sequence[str]) -> Captions:
        tokens_NT, lengths_N = self.vocabulary.encode_batch(sentences, self.max_tokens)
        return Captions(tokens_BT=torch.from_numpy(tokens_NT.astype(np.int64)), lengths_B=torch.from_numpy(lengths_N))


@dataclass(frozen=True, kw_only=True)
class SentenceReader:
    """Embeddings of a frozen encoder; those of the data's captions are kept with it, so that training needs no more."""

    spec: SentenceSpec
    data: PreparedData | None = None  # None: only sentences are read
    _vectors: dict[str, np.ndarray] = field(default_factory=dict)  # by split, memory-mapped

    @cached_property
    def encoder(self) -> SentenceEncoder:
        """Opened when it is first needed; CheckpointError where it is not the one of the training."""
        found = SentenceEncoder.open(find_sentence_encoder(self.spec.where))
        if found.sha256 != self.spec.sha256:
            raise CheckpointError(
                f"the sentence encoder {self.spec.where!r} is {found.sha256[:12]}..., but the training was with "
                f"{self.spec.sha256[:12]}...; bring that one back, or train anew"
            )
        return found

    def of_split(self, split: Split, captions_N: np.ndarray) -> Captions:
        assert self.data is not None
        if split.name not in self._vectors:
            kept = kept_embeddings(self.data, split.name, self.spec)
            self._vectors[split.name] = split_embeddings(self.data, split.name, self.encoder) if kept is None else kept
        return Captions(vectors_BS=torch.from_numpy(self._vectors[split.name][captions_N]))

    def of_sentences(self, sentences: Sequence[str]) -> Captions:
        vectors_NS = torch.zeros(len(sentences), self.spec.size)
        worded = [row for row, sentence in enumerate(sentences) if sentence.strip()]
        if worded:
            vectors_NS[worded] = self.encoder.embed([sentences[row] for row in worded])
        return Captions(vectors_BS=vectors_NS)


def reader_for(stage: StageSpec, vocabulary: Vocabulary, max_tokens: int, data: PreparedData | None = None) -> Reader:
    """What reads captions for models of this stage; what a model without words is given, it does not look at."""
    if stage.settings.text.encoder == "sentence":
        assert stage.sentence is not None  # a model of this stage could not have been made
        return SentenceReader(spec=stage.sentence, data=data)
    return WordReader(vocabulary=vocabulary, max_tokens=max_tokens)


def data_reader(stage: StageSpec, data: PreparedData) -> Reader:
    return reader_for(stage, data.vocabulary, data.max_tokens, data)
