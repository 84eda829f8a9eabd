"""A sentence encoder for tests: two layers of 16, random weights, a few word pieces."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from t2f.bert import BertConfig

PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "man", "woman", "with", "hair", "beard", "##ed", "##s", "brown", "cafe", "'", ".", ",", "-", "$", "人"),
)
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "vocab_size": len(PIECES),
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    save_file(dict(weights), folder / "model.safetensors")


def tiny_bert(folder: Path, config: Mapping[str, Any] | None = None, *, seed: int = 0) -> Path:
    """The folder, with what a sentence encoder needs and nothing else; config changes single values."""
    write_json(folder / "config.json", {**CONFIG, **(config or {})})
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    random = torch.Generator().manual_seed(seed)
    shapes = BertConfig(**{name: CONFIG[name] for name in BertConfig.__annotations__}).shapes()
    # Large enough that every part shows, but not so that biases drown the words.
    sizes = {name: 0.1 if name.endswith("bias") else 0.7 for name in shapes}
    write_weights(folder, {name: sizes[name] * torch.randn(shape, generator=random) for name, shape in shapes.items()})
    return folder
