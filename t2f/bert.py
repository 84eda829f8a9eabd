"""The network of a frozen BERT (arXiv:1810.04805), read from JSON and safetensors and run here: no other library.

B batch, T tokens, H hidden, P heads, D head's width
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from t2f.foreign import allow_only, norm_epsilon, read_as, read_tensors, require_equal_heads, whole_number


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The sizes of a network; names and meaning as in a BERT's config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def read(cls, path: Path) -> "BertConfig":
        """What a config.json says; CheckpointError where it is no BERT, or one of a kind that is not run here."""
        found = read_as(path, dict)
        allow_only(path, {"model_type": None, **found}, {"model_type": "bert"})
        allow_only(path, found, {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False})
        epsilon = norm_epsilon(path, found, default=1e-12)
        names = [field.name for field in fields(cls) if field.name != "layer_norm_eps"]
        sizes = {name: whole_number(path, found, name) for name in names}
        require_equal_heads(path, sizes)
        return cls(**sizes, layer_norm_eps=epsilon)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each tensor that is used, with its shape; a file may hold others, such as a pooler."""
        hidden, wide = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, hidden),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, hidden),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, hidden),
        }
        norms = ["embeddings.LayerNorm"]
        for layer in layer_names(self):
            linears = {f"attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
            linears |= {"attention.output.dense": (hidden, hidden)}
            linears |= {"intermediate.dense": (wide, hidden), "output.dense": (hidden, wide)}
            shapes |= {f"{layer}.{name}.weight": shape for name, shape in linears.items()}
            shapes |= {f"{layer}.{name}.bias": shape[:1] for name, shape in linears.items()}
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        return shapes | {f"{norm}.{name}": (hidden,) for norm in norms for name in ("weight", "bias")}


def layer_names(config: BertConfig) -> list[str]:
    return [f"encoder.layer.{number}" for number in range(config.num_hidden_layers)]


class Bert:
    """The hidden states of sentences; frozen, without dropout."""

    def __init__(self, config: BertConfig, weights: Mapping[str, Tensor]) -> None:
        """weights: float32, named and shaped as config.shapes() says."""
        self.config = config
        self.weights = weights

    @classmethod
    def read(cls, config: BertConfig, path: Path) -> "Bert":
        """The network with the weights of a safetensors file; CheckpointError where they do not fit."""
        # A BERT that was saved inside a larger model carries its name.
        return cls(config, read_tensors(path, config.shapes(), prefixes=("bert.", "")))

    @torch.no_grad()
    def hidden(self, tokens_BT: Tensor, is_real_BT: Tensor) -> Tensor:
        """hidden_BTH of int64 tokens_BT; padding, where is_real_BT is False, is not looked at."""
        embeddings = (
            self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        words_VH, positions_TH, types_H = embeddings
        # One sentence at a time: all tokens are of type 0.
        x_BTH = words_VH[tokens_BT] + positions_TH[: tokens_BT.shape[1]] + types_H[0]
        x_BTH = self._norm("embeddings.LayerNorm", x_BTH)
        for layer in layer_names(self.config):
            attended_BTH = self._attend(f"{layer}.attention", x_BTH, is_real_BT)
            x_BTH = self._norm(f"{layer}.attention.output.LayerNorm", x_BTH + attended_BTH)
            wide = functional.gelu(self._linear(f"{layer}.intermediate.dense", x_BTH))
            x_BTH = self._norm(f"{layer}.output.LayerNorm", x_BTH + self._linear(f"{layer}.output.dense", wide))
        return x_BTH

    def _attend(self, name: str, x_BTH: Tensor, is_real_BT: Tensor) -> Tensor:
        """Self-attention of several heads (arXiv:1706.03762, equation 1)."""
        query_BPTD, key_BPTD, value_BPTD = (
            self._linear(f"{name}.self.{part}", x_BTH)
            .unflatten(2, (self.config.num_attention_heads, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed_BPTD = functional.scaled_dot_product_attention(
            query_BPTD, key_BPTD, value_BPTD, attn_mask=is_real_BT[:, None, None, :]
        )
        return self._linear(f"{name}.output.dense", mixed_BPTD.transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, self.config.layer_norm_eps)
