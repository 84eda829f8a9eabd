"""Inception from a weights file: its layers, and what is refused. The weights are random."""

import pytest
import torch
from safetensors.torch import save_file

from t2f.errors import CheckpointError
from t2f.metrics.inception import Inception, InceptionNetwork, _mean_3x3


@pytest.fixture(scope="module")
def network() -> InceptionNetwork:
    torch.manual_seed(0)
    return InceptionNetwork().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def test_it_has_the_layers_of_the_published_network(network):
    # torchvision's Inception v3 without its side branch has 23,834,568 weights and 1000 outputs; this one has 1008.
    assert sum(weight.numel() for weight in network.parameters()) == 23_834_568 + 8 * 2049
    shapes = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
        for name, layer in network.named_children()
    ]
    assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)
    for hook in hooks:
        hook.remove()
    expected = {
        "Conv2d_1a_3x3": (32, 149, 149),
        "Conv2d_2b_3x3": (64, 147, 147),
        "Conv2d_4a_3x3": (192, 71, 71),
        "Mixed_5d": (288, 35, 35),
        "Mixed_6e": (768, 17, 17),
        "Mixed_7a": (1280, 8, 8),
        "Mixed_7c": (2048, 8, 8),
    }
    assert {name: shapes[name] for name in expected} == expected


def test_padding_does_not_count_in_means_and_the_last_block_takes_the_maximum(network):
    assert torch.allclose(_mean_3x3(torch.ones(1, 2, 5, 5)), torch.ones(1, 2, 5, 5))
    x = torch.randn(1, 2048, 4, 4, generator=torch.Generator().manual_seed(0))
    block = network.Mixed_7c
    pooled = block.branch_pool(torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1))
    assert torch.equal(block(x)[:, -192:], pooled)
    assert not torch.allclose(network.Mixed_7b(x[:, :1280])[:, -192:], pooled)


def test_a_file_of_either_kind_gives_the_same_features(network, weights_file, tmp_path):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    opened = Inception.open(weights_file)
    found = opened.features(images)
    enlarged = torch.nn.functional.interpolate(images.float() / 255, size=(299, 299), mode="bilinear")
    assert torch.allclose(found, network(2 * enlarged - 1), atol=1e-4)
    other = tmp_path / "weights.safetensors"
    old = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(old, other)
    assert Inception.open(other).sha256 == opened.sha256


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_foreign_files_are_refused_and_never_executed(tmp_path, capsys):
    for name, content in {
        "evil.pth": Evil(),
        "list.pth": [torch.zeros(1)],
        "other.pth": {"fc.weight": torch.zeros(2, 2)},
    }.items():
        torch.save(content, tmp_path / name)
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    reasons = {
        "evil.pth": "cannot be read as a file of tensors alone",
        "list.pth": "holds no tensors by name",
        "other.pth": "lacks Conv2d_1a_3x3.bn.bias",
        "text.pth": "cannot be read as a file of tensors alone",
        "text.safetensors": "cannot be read as a file of tensors alone",
        "nowhere.pth": "does not exist",
    }
    for name, reason in reasons.items():
        with pytest.raises(CheckpointError, match=reason):
            Inception.open(tmp_path / name)
    assert "executed" not in capsys.readouterr().out
