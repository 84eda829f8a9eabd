"""The network: equal to a slow reference, blind to padding, and strict about its files."""

import json
import math
import pickle

import pytest
import torch
from safetensors.torch import load_file

from t2f.bert import Bert, BertConfig
from t2f.errors import CheckpointError
from t2f.foreign import read_as
from tests.t2f.bert_folder import tiny_bert, write_json, write_weights


@pytest.fixture
def folder(tmp_path):
    return tiny_bert(tmp_path / "bert")


def read(folder) -> Bert:
    return Bert.read(BertConfig.read(folder / "config.json"), folder / "model.safetensors")


def slow_hidden(bert: Bert, tokens: list[int]) -> torch.Tensor:
    """hidden_TH of one sentence in float64, token by token and head by head, from the formulas."""
    weights = {name: weight.double() for name, weight in bert.weights.items()}
    width = bert.config.hidden_size // bert.config.num_attention_heads

    def linear(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def norm(name, x):
        spread = ((x - x.mean()) ** 2).mean()
        scaled = (x - x.mean()) / (spread + bert.config.layer_norm_eps).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(name, states, own):
        heads = []
        for head in range(bert.config.num_attention_heads):
            part = slice(head * width, (head + 1) * width)
            query = linear(f"{name}.query", own)[part]
            scores = [float(query @ linear(f"{name}.key", other)[part]) / math.sqrt(width) for other in states]
            powers = [math.exp(score - max(scores)) for score in scores]
            mixed = [
                power / sum(powers) * linear(f"{name}.value", other)[part]
                for power, other in zip(powers, states, strict=True)
            ]
            heads.append(sum(mixed))
        return torch.cat(heads)

    names = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    words, positions, types = (weights[name] for name in names)
    states = [norm("embeddings.LayerNorm", words[t] + positions[place] + types[0]) for place, t in enumerate(tokens)]
    for layer in range(bert.config.num_hidden_layers):
        name = f"encoder.layer.{layer}"
        mixed = [linear(f"{name}.attention.output.dense", attend(f"{name}.attention.self", states, x)) for x in states]
        states = [norm(f"{name}.attention.output.LayerNorm", x + y) for x, y in zip(states, mixed, strict=True)]
        wide = [linear(f"{name}.intermediate.dense", x) for x in states]
        wide = [0.5 * x * (1 + torch.erf(x / math.sqrt(2))) for x in wide]
        out = [linear(f"{name}.output.dense", x) for x in wide]
        states = [norm(f"{name}.output.LayerNorm", x + y) for x, y in zip(states, out, strict=True)]
    return torch.stack(states)


def test_it_is_the_formulas_and_blind_to_padding(folder):
    bert = read(folder)
    sentences = [[2, 5, 6, 3], [2, 3], [2, 5, 7, 8, 13, 9, 16, 3]]
    tokens = torch.full((3, 9), 11)  # what stands in the padding must not matter
    is_real = torch.zeros(3, 9, dtype=torch.bool)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence)] = torch.tensor(sentence)
        is_real[row, : len(sentence)] = True
    found = bert.hidden(tokens, is_real)
    for row, sentence in enumerate(sentences):
        torch.testing.assert_close(
            found[row, : len(sentence)].double(), slow_hidden(bert, sentence), atol=2e-5, rtol=1e-5
        )
    assert not found.requires_grad


def test_half_precision_and_a_saved_parts_name_are_read(folder):
    weights = load_file(folder / "model.safetensors")
    halves = {f"bert.{name}": weight.half() for name, weight in weights.items()} | {"cls.bias": torch.zeros(3)}
    write_weights(folder, halves)
    found = read(folder).weights
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weight.half().float()) for name, weight in weights.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mpnet"}, "says model_type = 'mpnet'; only 'bert' can be run"),
        ({"hidden_act": "relu"}, "says hidden_act = 'relu'; only 'gelu' can be run"),
        ({"position_embedding_type": "relative_key"}, "only 'absolute' can be run"),
        ({"hidden_size": "16"}, "says hidden_size = '16'; it must be a whole number, 1 or more"),
        ({"num_hidden_layers": True}, "says num_hidden_layers = True; it must be a whole number"),
        ({"num_attention_heads": 3}, "says hidden_size = 16, which 3 attention heads cannot share"),
        ({"layer_norm_eps": "small"}, "says layer_norm_eps = 'small'; it must be a number between 0 and 1"),
        ({"num_hidden_layers": 3}, "has no tensor encoder.layer.2.attention.self.query.weight"),
        ({"intermediate_size": 25}, r"weight as torch.float32 \(24, 16\); its config.json asks for .* \(25, 16\)"),
    ],
)
def test_a_network_that_is_another_is_refused_in_one_line(tmp_path, change, message):
    folder = tiny_bert(tmp_path / "bert", change)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_a_config_without_its_kind_or_no_object_is_refused(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["model_type"]
    write_json(folder / "config.json", config)
    with pytest.raises(CheckpointError, match="says model_type = None; only 'bert' can be run"):
        read(folder)
    write_json(folder / "config.json", ["bert"])
    with pytest.raises(CheckpointError, match="holds a list; a dict is needed"):
        read(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not JSON in UTF-8"):
        read_as(folder / "config.json", dict)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (torch.full((16,), torch.nan), "holds embeddings.LayerNorm.bias with values that are not finite"),
        (torch.zeros(16, dtype=torch.int8), r"holds embeddings.LayerNorm.bias as torch.int8 \(16,\)"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(folder, bias, message):
    write_weights(folder, {**load_file(folder / "model.safetensors"), "embeddings.LayerNorm.bias": bias})
    with pytest.raises(CheckpointError, match=message):
        read(folder)


def test_a_pickle_is_not_opened(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(CheckpointError, match="cannot be read as a safetensors file"):
        read(folder)
