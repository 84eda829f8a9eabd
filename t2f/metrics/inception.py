"""Inception v3 as the FID is defined over it, from a weights file that the user brings.

The network of `pt_inception-2015-12-05` (the TensorFlow graph of 2015 in PyTorch's names): 1008 outputs, means that do
not count the padding, and a maximum in the last block's pooling branch. Pictures are enlarged to 299 px, bilinear,
without antialiasing, and scaled to [-1, 1].

B batch, C channels, H height, W width, R resolution in px
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from t2f.checkpoint import tensors_sha256
from t2f.errors import CheckpointError

INPUT_RESOLUTION = 299  # px


class _Conv(nn.Module):
    """Convolution, batch norm (eps .001), ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int | tuple[int, int], stride: int = 1, padding=0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def _mean_3x3(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _BlockA(nn.Module):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1 = _Conv(inputs, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        fives = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), fives, threes, self.branch_pool(_mean_3x3(x))], dim=1)


class _BlockB(nn.Module):
    """Half the size."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, functional.max_pool2d(x, 3, stride=2)], dim=1)


class _BlockC(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        row, column = {"size": (1, 7), "padding": (0, 3)}, {"size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = _Conv(inputs, 192, 1)
        self.branch7x7_1 = _Conv(inputs, width, 1)
        self.branch7x7_2 = _Conv(width, width, **row)
        self.branch7x7_3 = _Conv(width, 192, **column)
        self.branch7x7dbl_1 = _Conv(inputs, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, **column)
        self.branch7x7dbl_3 = _Conv(width, width, **row)
        self.branch7x7dbl_4 = _Conv(width, width, **column)
        self.branch7x7dbl_5 = _Conv(width, 192, **row)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_mean_3x3(x))], dim=1)


class _BlockD(nn.Module):
    """Half the size."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(inputs, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(inputs, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3_2(self.branch3x3_1(x))
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([threes, sevens, functional.max_pool2d(x, 3, stride=2)], dim=1)


class _BlockE(nn.Module):
    """The last one pools by the maximum, as the graph of 2015 does."""

    def __init__(self, inputs: int, *, is_last: bool) -> None:
        super().__init__()
        self._is_last = is_last
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3_1(x)
        doubles = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, stride=1, padding=1) if self._is_last else _mean_3x3(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(threes), self.branch3x3_2b(threes)]
        parts += [self.branch3x3dbl_3a(doubles), self.branch3x3dbl_3b(doubles), self.branch_pool(pooled)]
        return torch.cat(parts, dim=1)


class InceptionNetwork(nn.Module):
    """Pool features of pictures; `fc` is in the file, and is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, is_last=False)
        self.Mixed_7c = _BlockE(2048, is_last=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """features_B2048 of pictures in [-1, 1], 299 px."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x_B3HW)))
        x = self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, stride=2))
        x = functional.max_pool2d(self.Conv2d_4a_3x3(x), 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))


class Inception:
    """The frozen network, and the hash that names its weights."""

    def __init__(self, network: InceptionNetwork, sha256: str) -> None:
        self._network, self.sha256 = network, sha256

    @torch.no_grad()
    def features(self, images_N3RR: Tensor) -> Tensor:
        """features_N2048 of uint8 pictures."""
        size = (INPUT_RESOLUTION, INPUT_RESOLUTION)
        found = []
        for images in images_N3RR.split(16):
            enlarged = functional.interpolate(images.float() / 255, size=size, mode="bilinear", align_corners=False)
            found.append(self._network((2 * enlarged - 1).contiguous(memory_format=torch.channels_last)))
        return torch.cat(found)

    @classmethod
    def open(cls, path: Path) -> "Inception":
        """The weights in a .safetensors or PyTorch file, which may hold nothing but tensors, or CheckpointError."""
        weights = _read(path)
        with torch.device("meta"):
            network = InceptionNetwork()
        expected = network.state_dict()
        # Files written by older PyTorch have no counters of batches, which only training looks at.
        needed = {name for name in expected if not name.endswith("num_batches_tracked")}
        missing = sorted(needed - set(weights))
        wrong = sorted(name for name in needed & set(weights) if weights[name].shape != expected[name].shape)
        if missing or wrong:
            what = f"lacks {missing[0]}" if missing else f"has {wrong[0]} of shape {tuple(weights[wrong[0]].shape)}"
            raise CheckpointError(
                f"{path} {what} ({len(missing)} tensors missing, {len(wrong)} of other shapes); --inception takes the "
                "weights that the FID is defined with, pt_inception-2015-12-05-6726825d.pth"
            )
        used = {name: weights[name].float() for name in needed}
        counters = {name: torch.zeros((), dtype=torch.int64) for name in set(expected) - needed}
        network.load_state_dict({**used, **counters}, assign=True)
        network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        return cls(network, tensors_sha256(used))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; --inception takes a file with Inception's weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file: torch raises nearly anything; nothing in it was executed
        raise CheckpointError(
            f"{path} cannot be read as a file of tensors alone: {str(error).splitlines()[0]:.200}"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path} holds no tensors by name; --inception takes a state dict")
    return weights
