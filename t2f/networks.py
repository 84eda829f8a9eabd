"""The conditional progressive GAN at one stage: generator side, discriminator, and how a new stage takes over weights.

B batch, Z latent, E text embedding, C conditioning, F features, R resolution in px

A network is built for one stage and holds the blocks up to its resolution, and the RGB layers of that resolution and
of the one before (which the fade needs). Names of layers carry their resolution, so that a new stage finds the old
layers by name.
"""

import math

import torch
from torch import Tensor, nn

from t2f.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedUpConv2d,
    downsample,
    initialise,
    leaky_relu,
    minibatch_stddev,
    pixel_norm,
    upsample,
)
from t2f.spec import RESOLUTIONS, StageSpec
from t2f.text import ConditioningAugmentation, TextEncoder


class GeneratorBlock(nn.Module):
    """Twice the resolution: upsampling, then two 3x3 convolutions with pixel norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualizedUpConv2d(inputs, outputs)
        self.conv2 = EqualizedConv2d(outputs, outputs, 3, padding=1)

    def forward(self, x_BFRR: Tensor) -> Tensor:
        x_BFRR = pixel_norm(leaky_relu(self.conv1(x_BFRR)))
        return pixel_norm(leaky_relu(self.conv2(x_BFRR)))


class Generator(nn.Module):
    """images_B3RR from latent_BZ (ProGAN table 2); values about [-1, 1], not clamped."""

    def __init__(self, latent: int, features: tuple[int, ...]) -> None:
        super().__init__()
        self.resolution = RESOLUTIONS[len(features) - 1]
        self.first = EqualizedLinear(latent, features[0] * 16, gain=math.sqrt(2) / 4)
        self.first_conv = EqualizedConv2d(features[0], features[0], 3, padding=1)
        self.blocks = nn.ModuleDict()
        for index in range(1, len(features)):
            self.blocks[str(RESOLUTIONS[index])] = GeneratorBlock(features[index - 1], features[index])
        self.to_rgb = nn.ModuleDict()
        for index in range(max(0, len(features) - 2), len(features)):
            self.to_rgb[str(RESOLUTIONS[index])] = EqualizedConv2d(features[index], 3, 1, gain=1.0)

    def forward(self, latent_BZ: Tensor, alpha: float) -> Tensor:
        """alpha in [0, 1]: the share of the newest block in the picture; at 1 the old RGB layer is not run."""
        x = self.first(pixel_norm(latent_BZ)).reshape(len(latent_BZ), -1, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        x = pixel_norm(leaky_relu(x))
        x = pixel_norm(leaky_relu(self.first_conv(x)))
        if not self.blocks:
            return self.to_rgb["4"](x).float()
        *old_blocks, newest = self.blocks.values()
        for block in old_blocks:
            x = block(x)
        picture = self.to_rgb[str(self.resolution)](newest(x)).float()
        if alpha >= 1:
            return picture
        # RGB is mixed before upsampling: the 1x1 convolution runs on a quarter of the pixels.
        return torch.lerp(upsample(self.to_rgb[str(self.resolution // 2)](x).float()), picture, alpha)


class FaceModel(nn.Module):
    """Everything that turns words into a picture: text encoder, conditioning augmentation, generator."""

    def __init__(self, stage: StageSpec, vocabulary_size: int) -> None:
        super().__init__()
        network = stage.settings.network
        self.noise_size = network.latent - network.conditioning
        self.conditioning_size = network.conditioning
        # PyTorch's own initialisation of the LSTM, replaced below, must not move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            self.encoder = TextEncoder(stage.settings, vocabulary_size)
        self.conditioning = ConditioningAugmentation(stage.settings)
        self.generator = Generator(network.latent, stage.features)
        initialise(self, seed=stage.seed, prefix="face_model")
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def draw(self, text_BE: Tensor, noise_BZ: Tensor, *, alpha: float = 1.0) -> Tensor:
        """uint8 images_B3RR for embeddings and standard normal noise (its first part moves the conditioning)."""
        conditioning_noise, noise = noise_BZ.split([self.conditioning_size, self.noise_size], dim=1)
        conditioning_BC, _, _ = self.conditioning(text_BE, conditioning_noise)
        images = self.generator(torch.cat([conditioning_BC, noise], dim=1), alpha)
        return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


class DiscriminatorBlock(nn.Module):
    """Half the resolution: two 3x3 convolutions, then 2x2 means."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualizedConv2d(inputs, inputs, 3, padding=1)
        self.conv2 = EqualizedConv2d(inputs, outputs, 3, padding=1)

    def forward(self, x_BFRR: Tensor) -> Tensor:
        return downsample(leaky_relu(self.conv2(leaky_relu(self.conv1(x_BFRR)))))


class Discriminator(nn.Module):
    """scores_B of (image, caption) pairs, in two halves: `trunk` sees only the image, `judge` joins psi_t to it.

    The halves are apart so that real images with right and with wrong captions share one pass through the trunk. There
    are no normalisation layers, as the gradient penalty of single images demands (arXiv:1704.00028, section 4).
    """

    def __init__(self, stage: StageSpec) -> None:
        super().__init__()
        features, text = stage.features, stage.settings.text.embedding
        self.resolution = stage.resolution
        self.group = stage.settings.network.stddev_group
        self.from_rgb = nn.ModuleDict()
        for index in range(max(0, len(features) - 2), len(features)):
            self.from_rgb[str(RESOLUTIONS[index])] = EqualizedConv2d(3, features[index], 1)
        self.blocks = nn.ModuleDict()
        for index in range(len(features) - 1, 0, -1):
            self.blocks[str(RESOLUTIONS[index])] = DiscriminatorBlock(features[index], features[index - 1])
        self.text = EqualizedLinear(text, text)
        self.conv = EqualizedConv2d(features[0] + 1 + text, features[0], 3, padding=1)
        self.dense = EqualizedLinear(features[0] * 16, features[0])
        self.out = EqualizedLinear(features[0], 1, gain=1.0)
        initialise(self, seed=stage.seed, prefix="discriminator")
        self.to(memory_format=torch.channels_last)

    def trunk(self, images_B3RR: Tensor, alpha: float) -> Tensor:
        """What D sees in the images: trunk_BF44, the minibatch standard deviation included."""
        images_B3RR = images_B3RR.contiguous(memory_format=torch.channels_last)
        x = leaky_relu(self.from_rgb[str(self.resolution)](images_B3RR))
        blocks = list(self.blocks.values())
        if blocks:
            x = blocks[0](x)
            if alpha < 1:
                old = leaky_relu(self.from_rgb[str(self.resolution // 2)](downsample(images_B3RR)))
                x = torch.lerp(old, x, alpha)
            for block in blocks[1:]:
                x = block(x)
        return minibatch_stddev(x, self.group)

    def judge(self, trunk_BF44: Tensor, text_BE: Tensor) -> Tensor:
        """scores_B of trunks with these captions."""
        text_BE = leaky_relu(self.text(text_BE))
        planes = text_BE[:, :, None, None].expand(-1, -1, 4, 4)
        x = leaky_relu(self.conv(torch.cat([trunk_BF44, planes], dim=1)))
        return self.out(leaky_relu(self.dense(x.flatten(1)))).squeeze(1).float()

    def forward(self, images_B3RR: Tensor, text_BE: Tensor, alpha: float) -> Tensor:
        return self.judge(self.trunk(images_B3RR, alpha), text_BE)


def take_over(network: nn.Module, parent: dict[str, Tensor]) -> None:
    """Copy the weights of every layer that the parent stage had; new layers keep what `initialise` gave them."""
    own = network.state_dict()
    with torch.no_grad():
        for name in own.keys() & parent.keys():
            own[name].copy_(parent[name])


def fade_reals(images_B3RR: Tensor, alpha: float) -> Tensor:
    """Real images as sharp as the generator's are at this alpha (ProGAN figure 2, caption)."""
    if alpha >= 1 or images_B3RR.shape[-1] <= 4:
        return images_B3RR
    return torch.lerp(upsample(downsample(images_B3RR)), images_B3RR, alpha)
