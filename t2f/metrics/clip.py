"""A CLIP (arXiv:2103.00020) that the user brings, a second judge: read from JSON and safetensors and run here.

The folder is one in the form of Hugging Face: config.json, model.safetensors, vocab.json, merges.txt and, where the
pictures are scaled otherwise than CLIP's, preprocessor_config.json.

N images or sentences, B batch, T tokens or patches, H hidden, P heads, D head's width, R resolution in px, J embedding
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from t2f.bytepairs import BytePairs, read_byte_pairs
from t2f.checkpoint import file_sha256
from t2f.errors import CheckpointError
from t2f.foreign import allow_only, norm_epsilon, read_as, read_tensors, require_equal_heads, whole_number

WEIGHTS = "model.safetensors"
REQUIRED = ("config.json", WEIGHTS, "vocab.json", "merges.txt")
SCALING = "preprocessor_config.json"
# What CLIP's pictures are scaled by, red, green and blue.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# What a config.json that leaves something out means: the sizes of ViT-B/32.
TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
TEXT |= {"max_position_embeddings": 77, "vocab_size": 49408}
VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
VISION |= {"image_size": 224, "patch_size": 32}
ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": functional.gelu}

Sizes = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """The sizes of both towers; names and meaning as in a CLIP's config.json."""

    text: Sizes
    vision: Sizes
    projection_dim: int

    @classmethod
    def read(cls, path: Path) -> "ClipConfig":
        """What a config.json says; CheckpointError where it is no CLIP, or one of a kind that is not run here."""
        found = read_as(path, dict)
        allow_only(path, {"model_type": None, **found}, {"model_type": "clip"})
        text, vision = (
            _tower(path, found.get(f"{name}_config"), sizes) for name, sizes in (("text", TEXT), ("vision", VISION))
        )
        if vision["image_size"] % vision["patch_size"]:
            raise CheckpointError(f"{path}: image_size {vision['image_size']} is no multiple of patch_size")
        width = whole_number(path, {"projection_dim": 512, **found}, "projection_dim")
        return cls(text=text, vision=vision, projection_dim=width)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each tensor that is used, with its shape."""
        text, vision = self.text, self.vision
        patches = (vision["image_size"] // vision["patch_size"]) ** 2
        wide = vision["hidden_size"]
        shapes: dict[str, tuple[int, ...]] = {
            "text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["hidden_size"]),
            "text_model.embeddings.position_embedding.weight": (text["max_position_embeddings"], text["hidden_size"]),
            "text_projection.weight": (self.projection_dim, text["hidden_size"]),
            "vision_model.embeddings.class_embedding": (wide,),
            "vision_model.embeddings.patch_embedding.weight": (wide, 3, vision["patch_size"], vision["patch_size"]),
            "vision_model.embeddings.position_embedding.weight": (patches + 1, wide),
            "visual_projection.weight": (self.projection_dim, wide),
        }
        shapes |= _norm_shapes("text_model.final_layer_norm", text)
        for norm in ("pre_layrnorm", "post_layernorm"):  # the first is misspelt in every CLIP
            shapes |= _norm_shapes(f"vision_model.{norm}", vision)
        for tower, sizes in (("text_model", text), ("vision_model", vision)):
            for layer in range(sizes["num_hidden_layers"]):
                shapes |= _layer_shapes(f"{tower}.encoder.layers.{layer}", sizes)
        return shapes


def _tower(path: Path, found: Any, defaults: Sizes) -> dict[str, Any]:
    if not isinstance(found, dict | None):
        raise CheckpointError(f"{path} gives the sizes of a tower as {found!r:.100}; a mapping is needed")
    said = {name: value for name, value in (found or {}).items() if value is not None}
    sizes: dict[str, Any] = {name: whole_number(path, {**defaults, **said}, name) for name in defaults}
    require_equal_heads(path, sizes)
    activation = said.get("hidden_act", "quick_gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise CheckpointError(f"{path} says hidden_act = {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    return {**sizes, "hidden_act": activation, "layer_norm_eps": norm_epsilon(path, said, default=1e-5)}


def _norm_shapes(name: str, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (sizes["hidden_size"],) for part in ("weight", "bias")}


def _layer_shapes(layer: str, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    hidden, wide = sizes["hidden_size"], sizes["intermediate_size"]
    linears = {f"self_attn.{name}_proj": (hidden, hidden) for name in ("q", "k", "v", "out")}
    linears |= {"mlp.fc1": (wide, hidden), "mlp.fc2": (hidden, wide)}
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.{name}.weight": shape for name, shape in linears.items()}
    shapes |= {f"{layer}.{name}.bias": shape[:1] for name, shape in linears.items()}
    return shapes | _norm_shapes(f"{layer}.layer_norm1", sizes) | _norm_shapes(f"{layer}.layer_norm2", sizes)


class Clip:
    """The frozen towers; embeddings are unit vectors, whose product says how well picture and sentence fit."""

    def __init__(
        self,
        config: ClipConfig,
        weights: Mapping[str, Tensor],
        tokenizer: BytePairs,
        *,
        sha256: str,
        mean: Sequence[float] = MEAN,
        deviation: Sequence[float] = DEVIATION,
    ) -> None:
        self.config, self.sha256 = config, sha256
        self._weights, self._tokenizer = weights, tokenizer
        self._mean_C11, self._deviation_C11 = (torch.tensor(values)[:, None, None] for values in (mean, deviation))

    @classmethod
    def open(cls, folder: Path) -> "Clip":
        """The CLIP in this folder; CheckpointError, one line, where it is not one that can be run here."""
        for name in REQUIRED:
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder} has no {name}; --clip takes a folder with {', '.join(REQUIRED)}")
        config = ClipConfig.read(folder / "config.json")
        tokenizer = read_byte_pairs(
            folder, vocabulary_size=config.text["vocab_size"], max_tokens=config.text["max_position_embeddings"]
        )
        files = [name for name in (*REQUIRED, SCALING) if (folder / name).is_file()]
        sha256 = hashlib.sha256(repr([(name, file_sha256(folder / name)) for name in files]).encode()).hexdigest()
        scaling = read_as(folder / SCALING, dict) if SCALING in files else {}
        return cls(
            config,
            read_tensors(folder / WEIGHTS, config.shapes()),
            tokenizer,
            sha256=sha256,
            mean=_colours(folder / SCALING, scaling.get("image_mean", MEAN)),
            deviation=_colours(folder / SCALING, scaling.get("image_std", DEVIATION)),
        )

    @torch.no_grad()
    def embed_images(self, images_N3RR: Tensor) -> Tensor:
        """embeddings_NJ of uint8 pictures of any resolution, enlarged or reduced by bicubic interpolation."""
        size = (self.config.vision["image_size"],) * 2
        found = []
        for images in images_N3RR.split(16):
            x = functional.interpolate(images.float(), size=size, mode="bicubic", align_corners=False, antialias=True)
            x = (x.clamp(0, 255) / 255 - self._mean_C11) / self._deviation_C11
            found.append(self._see(x))
        return functional.normalize(torch.cat(found), dim=1)

    @torch.no_grad()
    def embed_sentences(self, sentences: Sequence[str]) -> Tensor:
        """embeddings_NJ; a sentence's does not depend on its neighbours, but for rounding."""
        encoded = {sentence: self._tokenizer.encode(sentence) for sentence in sentences}
        order = sorted(encoded, key=lambda sentence: len(encoded[sentence]))
        found: dict[str, Tensor] = {}
        for start in range(0, len(order), 64):
            batch = order[start : start + 64]
            found |= dict(zip(batch, self._read([encoded[sentence] for sentence in batch]), strict=True))
        return functional.normalize(torch.stack([found[sentence] for sentence in sentences]), dim=1)

    def _see(self, x_B3RR: Tensor) -> Tensor:
        name, sizes = "vision_model", self.config.vision
        patches_BHRR = functional.conv2d(
            x_B3RR, self._weights[f"{name}.embeddings.patch_embedding.weight"], stride=sizes["patch_size"]
        )
        first_B1H = self._weights[f"{name}.embeddings.class_embedding"].expand(len(x_B3RR), 1, -1)
        x_BTH = torch.cat([first_B1H, patches_BHRR.flatten(2).transpose(1, 2)], dim=1)
        x_BTH = x_BTH + self._weights[f"{name}.embeddings.position_embedding.weight"]
        x_BTH = self._encode(name, self._norm(f"{name}.pre_layrnorm", x_BTH, sizes), sizes, is_causal=False)
        pooled_BH = self._norm(f"{name}.post_layernorm", x_BTH[:, 0], sizes)
        return functional.linear(pooled_BH, self._weights["visual_projection.weight"])

    def _read(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        name, sizes = "text_model", self.config.text
        lengths_B = torch.tensor([len(one) for one in tokens])
        tokens_BT = torch.zeros(len(tokens), int(lengths_B.max()), dtype=torch.int64)
        for row, one in enumerate(tokens):
            tokens_BT[row, : len(one)] = torch.tensor(one)
        # Each token sees those before it alone, so what stands after the end does not matter.
        x_BTH = self._weights[f"{name}.embeddings.token_embedding.weight"][tokens_BT]
        x_BTH = x_BTH + self._weights[f"{name}.embeddings.position_embedding.weight"][: tokens_BT.shape[1]]
        x_BTH = self._norm(f"{name}.final_layer_norm", self._encode(name, x_BTH, sizes, is_causal=True), sizes)
        pooled_BH = x_BTH[torch.arange(len(tokens)), lengths_B - 1]
        return functional.linear(pooled_BH, self._weights["text_projection.weight"])

    def _encode(self, tower: str, x_BTH: Tensor, sizes: Sizes, *, is_causal: bool) -> Tensor:
        """Layers whose norms come first (arXiv:2103.00020, section 2.4)."""
        for number in range(sizes["num_hidden_layers"]):
            layer = f"{tower}.encoder.layers.{number}"
            normed_BTH = self._norm(f"{layer}.layer_norm1", x_BTH, sizes)
            x_BTH = x_BTH + self._attend(f"{layer}.self_attn", normed_BTH, sizes, is_causal=is_causal)
            wide = self._linear(f"{layer}.mlp.fc1", self._norm(f"{layer}.layer_norm2", x_BTH, sizes))
            x_BTH = x_BTH + self._linear(f"{layer}.mlp.fc2", ACTIVATIONS[sizes["hidden_act"]](wide))
        return x_BTH

    def _attend(self, name: str, x_BTH: Tensor, sizes: Sizes, *, is_causal: bool) -> Tensor:
        query_BPTD, key_BPTD, value_BPTD = (
            self._linear(f"{name}.{part}_proj", x_BTH).unflatten(2, (sizes["num_attention_heads"], -1)).transpose(1, 2)
            for part in ("q", "k", "v")
        )
        mixed_BPTD = functional.scaled_dot_product_attention(query_BPTD, key_BPTD, value_BPTD, is_causal=is_causal)
        return self._linear(f"{name}.out_proj", mixed_BPTD.transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor, sizes: Sizes) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, sizes["layer_norm_eps"])


def _colours(path: Path, found: Any) -> tuple[float, float, float]:
    is_right = isinstance(found, list | tuple) and len(found) == 3 and all(isinstance(one, float) for one in found)
    if not is_right or not all(0 < one < 1 for one in found):
        raise CheckpointError(f"{path} scales colours by {found!r}; three numbers between 0 and 1 are needed")
    red, green, blue = found
    return red, green, blue
