"""A CLIP from a folder: equal to PyTorch's own layers, blind to neighbours, and strict about its files."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from t2f.errors import CheckpointError
from t2f.metrics.clip import DEVIATION, MEAN, Clip, ClipConfig
from tests.t2f.bert_folder import write_json, write_weights
from tests.t2f.clip_folder import CONFIG, END, PIECES, START, tiny_clip


@pytest.fixture
def folder(tmp_path):
    return tiny_clip(tmp_path / "clip")


def pictures(count: int, resolution: int = 12) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, resolution, resolution), dtype=torch.uint8, generator=random)


def slow_tower(weights, tower: str, x_TH: torch.Tensor, *, is_causal: bool, activation) -> torch.Tensor:
    """The layers by torch.nn.MultiheadAttention, one sequence at a time."""
    for layer in range(2):
        name = f"{tower}.encoder.layers.{layer}"
        attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        parts = [f"{name}.self_attn.{part}_proj" for part in ("q", "k", "v")]
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([weights[f"{part}.weight"] for part in parts]))
            attention.in_proj_bias.copy_(torch.cat([weights[f"{part}.bias"] for part in parts]))
            attention.out_proj.weight.copy_(weights[f"{name}.self_attn.out_proj.weight"])
            attention.out_proj.bias.copy_(weights[f"{name}.self_attn.out_proj.bias"])
        normed = slow_norm(weights, f"{name}.layer_norm1", x_TH)
        mask = torch.full((len(x_TH), len(x_TH)), -torch.inf).triu(1) if is_causal else None
        x_TH = x_TH + attention(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        wide = slow_norm(weights, f"{name}.layer_norm2", x_TH) @ weights[f"{name}.mlp.fc1.weight"].T
        wide = activation(wide + weights[f"{name}.mlp.fc1.bias"])
        x_TH = x_TH + wide @ weights[f"{name}.mlp.fc2.weight"].T + weights[f"{name}.mlp.fc2.bias"]
    return x_TH


def slow_norm(weights, name: str, x: torch.Tensor) -> torch.Tensor:
    scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def quick_gelu(x):
    return x / (1 + torch.exp(-1.702 * x))


@pytest.mark.parametrize(("name", "activation"), [("quick_gelu", quick_gelu), ("gelu", functional.gelu)])
def test_pictures_are_seen_as_by_pytorchs_own_layers(tmp_path, name, activation):
    folder = tiny_clip(tmp_path / "clip", {"vision_config": {**CONFIG["vision_config"], "hidden_act": name}})
    weights = load_file(folder / "model.safetensors")
    image = pictures(1)
    x = (image[0].float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    kernel = weights["vision_model.embeddings.patch_embedding.weight"]
    rows = [weights["vision_model.embeddings.class_embedding"]]
    for row in range(3):
        for column in range(3):
            patch = x[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            rows.append((kernel * patch).sum(dim=(1, 2, 3)))
    x_TH = torch.stack(rows) + weights["vision_model.embeddings.position_embedding.weight"]
    x_TH = slow_norm(weights, "vision_model.pre_layrnorm", x_TH)
    x_TH = slow_tower(weights, "vision_model", x_TH, is_causal=False, activation=activation)
    pooled = slow_norm(weights, "vision_model.post_layernorm", x_TH[0])
    expected = functional.normalize(weights["visual_projection.weight"] @ pooled, dim=0)
    assert torch.allclose(Clip.open(folder).embed_images(image)[0], expected, atol=1e-5)


def test_sentences_are_read_as_by_pytorchs_own_layers(folder):
    weights = load_file(folder / "model.safetensors")
    tokens = [PIECES.index(piece) for piece in (START, "long</w>", "hair</w>", END)]
    x_TH = weights["text_model.embeddings.token_embedding.weight"][tokens]
    x_TH = x_TH + weights["text_model.embeddings.position_embedding.weight"][:4]
    x_TH = slow_tower(weights, "text_model", x_TH, is_causal=True, activation=quick_gelu)
    pooled = slow_norm(weights, "text_model.final_layer_norm", x_TH)[-1]
    expected = functional.normalize(weights["text_projection.weight"] @ pooled, dim=0)
    found = Clip.open(folder).embed_sentences(["long hair", "man", "long hair", "a man with long hair and a hat"])
    assert torch.allclose(found[0], expected, atol=1e-5)
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_pictures_of_any_size_are_scaled_as_the_folder_says(folder):
    clip = Clip.open(folder)
    assert clip.embed_images(pictures(20, resolution=4)).shape == (20, 8)
    assert torch.allclose(clip.embed_images(pictures(3, 32)).norm(dim=1), torch.ones(3))
    flat = torch.full((1, 3, 4, 4), 128, dtype=torch.uint8)
    assert torch.allclose(clip.embed_images(flat), clip.embed_images(flat.repeat(1, 1, 3, 3)), atol=1e-5)
    write_json(folder / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    scaled = Clip.open(folder)
    assert not torch.allclose(scaled.embed_images(flat), clip.embed_images(flat), atol=1e-2)
    assert scaled.sha256 != clip.sha256
    assert Clip.open(folder).sha256 == scaled.sha256


def test_folders_that_cannot_be_run_are_named(folder, tmp_path):
    def refused(name: str, content) -> str:
        bad = tiny_clip(tmp_path / "bad")
        (bad / name).write_bytes(content) if isinstance(content, bytes) else write_json(bad / name, content)
        with pytest.raises(CheckpointError) as raised:
            Clip.open(bad)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    vision = CONFIG["vision_config"]
    relu = {**vision, "hidden_act": "relu"}
    assert "model_type = 'bert'; only 'clip' can be run" in refused("config.json", {**CONFIG, "model_type": "bert"})
    assert "hidden_act = 'relu'" in refused("config.json", {**CONFIG, "vision_config": relu})
    assert "is no multiple of" in refused("config.json", {**CONFIG, "vision_config": {**vision, "image_size": 13}})
    assert "hidden_size = -1" in refused("config.json", {**CONFIG, "vision_config": {**vision, "hidden_size": -1}})
    assert "cannot share" in refused("config.json", {**CONFIG, "text_config": {**vision, "num_attention_heads": 3}})
    assert "cannot be read as a safetensors file" in refused("model.safetensors", pickle.dumps({"a": 1}))
    assert "three numbers between 0 and 1" in refused("preprocessor_config.json", {"image_mean": [1, 2]})
    assert "hidden_act = ['gelu']" in refused(
        "config.json", {**CONFIG, "text_config": {**vision, "hidden_act": ["gelu"]}}
    )
    assert "the sizes of a tower as [1]; a mapping is needed" in refused("config.json", {**CONFIG, "text_config": [1]})
    weights = load_file(folder / "model.safetensors")
    write_weights(folder, {**weights, "visual_projection.weight": torch.full((8, 16), torch.nan)})
    with pytest.raises(CheckpointError, match="not finite"):
        Clip.open(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"has no merges.txt; --clip takes a folder with config.json"):
        Clip.open(folder)


def test_what_a_config_leaves_out_is_the_published_size(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    shapes = ClipConfig.read(tmp_path / "config.json").shapes()
    # ViT-B/32 has 151,277,313 weights, one of which is the temperature.
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 151_277_312
