"""A CLIP for tests: two layers in each tower, random weights, bytes and a few joined pieces."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from t2f.bytepairs import END, START, WORD_END, byte_letters
from t2f.metrics.clip import ClipConfig
from tests.t2f.bert_folder import write_json, write_weights

MERGES = ("h a", "i r</w>", "ha ir</w>", "m a", "ma n</w>", "l o", "n g</w>", "lo ng</w>", "e d</w>")
PIECES = (
    *byte_letters(),
    *(letter + WORD_END for letter in byte_letters()),
    *(merge.replace(" ", "") for merge in MERGES),
    *(START, END),
)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
CONFIG = {
    "model_type": "clip",
    "projection_dim": 8,
    "text_config": {
        **SIZES,
        "hidden_act": "quick_gelu",
        "max_position_embeddings": 24,
        "vocab_size": len(PIECES),
        "eos_token_id": len(PIECES) - 1,
        "bos_token_id": len(PIECES) - 2,
    },
    "vision_config": {**SIZES, "hidden_act": "quick_gelu", "image_size": 12, "patch_size": 4},
}


def tiny_clip(folder: Path, config: Mapping[str, Any] | None = None, *, seed: int = 0) -> Path:
    """The folder, with what a CLIP needs and nothing else; config changes single values of the outermost level."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**CONFIG, **(config or {})})
    write_json(folder / "vocab.json", {piece: place for place, piece in enumerate(PIECES)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    random = torch.Generator().manual_seed(seed)
    shapes = ClipConfig.read(folder / "config.json").shapes()
    sizes = {name: 0.1 if name.endswith("bias") else 0.7 for name in shapes}
    write_weights(folder, {name: sizes[name] * torch.randn(shape, generator=random) for name, shape in shapes.items()})
    return folder
