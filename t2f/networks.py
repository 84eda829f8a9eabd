"""The conditional progressive GAN at one stage: generator side, discriminator, and how a new stage takes over weights.

B batch, Z latent, E text embedding, C conditioning, F features, R resolution in px

A network is built for one stage and holds the blocks up to its resolution, and the RGB layers of that resolution and
of the one before (which the fade needs). Names of layers carry their resolution, so that a new stage finds the old
layers by name.
"""

import math
from collections.abc import Mapping

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
from t2f.text import Captions, ConditioningAugmentation, kl_divergence, text_encoder


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
    """Everything that turns words into a picture: text encoder, conditioning augmentation, generator.

    Without a text encoder (`text.encoder: none`) the latent is noise alone.
    """

    def __init__(self, stage: StageSpec, vocabulary_size: int) -> None:
        super().__init__()
        network = stage.settings.network
        # PyTorch's own initialisation of the LSTM, replaced below, must not move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            self.encoder = text_encoder(stage, vocabulary_size)
        self.conditioning = None if self.encoder is None else ConditioningAugmentation(stage.settings)
        self.conditioning_size = 0 if self.encoder is None else network.conditioning
        self.noise_size = network.latent - self.conditioning_size
        self.generator = Generator(network.latent, stage.features)
        initialise(self, seed=stage.seed, prefix="face_model")
        self.to(memory_format=torch.channels_last)

    def embed(self, captions: Captions | None) -> Tensor | None:
        """text_BE of captions; None for a model without words."""
        return None if self.encoder is None else self.encoder(captions)

    def latent(self, text_BE: Tensor | None, noise_BZ: Tensor) -> tuple[Tensor, Tensor | None]:
        """latent_BZ = conditioning || noise, and the conditioning's KL divergence kl_B (None without words).

        noise_BZ is standard normal; its first part moves the conditioning.
        """
        if self.conditioning is None:
            return noise_BZ, None
        assert text_BE is not None
        conditioning_noise, noise = noise_BZ.split([self.conditioning_size, self.noise_size], dim=1)
        conditioning_BC, mean_BC, log_variance_BC = self.conditioning(text_BE, conditioning_noise)
        return torch.cat([conditioning_BC, noise], dim=1), kl_divergence(mean_BC, log_variance_BC)

    @torch.no_grad()
    def draw(self, text_BE: Tensor | None, noise_BZ: Tensor, *, alpha: float = 1.0) -> Tensor:
        """uint8 images_B3RR for embeddings and standard normal noise."""
        latent_BZ, _ = self.latent(text_BE, noise_BZ)
        images = self.generator(latent_BZ, alpha)
        return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    @property
    def latent_size(self) -> int:
        return self.conditioning_size + self.noise_size


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

    The last block is T2F's: minibatch deviation, a 3x3 convolution, psi_t beside it as further feature maps under a 1x1
    convolution, a dense layer, one score. With `discriminator.conditioning: projection` the score is
    w * features + psi_t * features instead (arXiv:1802.05637 eq. 5); without words it is ProGAN's.
    """

    def __init__(self, stage: StageSpec) -> None:
        super().__init__()
        features, settings = stage.features, stage.settings
        self.resolution = stage.resolution
        self.group = settings.network.stddev_group
        self.from_rgb = nn.ModuleDict()
        for index in range(max(0, len(features) - 2), len(features)):
            self.from_rgb[str(RESOLUTIONS[index])] = EqualizedConv2d(3, features[index], 1)
        self.blocks = nn.ModuleDict()
        for index in range(len(features) - 1, 0, -1):
            self.blocks[str(RESOLUTIONS[index])] = DiscriminatorBlock(features[index], features[index - 1])
        self.conv = EqualizedConv2d(features[0] + 1, features[0], 3, padding=1)
        self.text = self.join = None
        if settings.text.encoder != "none":
            size = settings.text.size
            if settings.discriminator.conditioning == "concat":
                self.text = EqualizedLinear(size, size, gain=1.0)
                self.join = EqualizedConv2d(features[0] + size, features[0], 1)
            else:
                self.text = EqualizedLinear(size, features[0], gain=1.0)
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
        return leaky_relu(self.conv(minibatch_stddev(x, self.group)))

    def judge(self, trunk_BF44: Tensor, text_BE: Tensor | None) -> Tensor:
        """float32 scores_B of trunks with these captions."""
        x = trunk_BF44
        if self.text is None:
            return self.out(leaky_relu(self.dense(x.flatten(1)))).squeeze(1).float()
        text_BF = self.text(text_BE)
        if self.join is not None:
            planes = text_BF[:, :, None, None].expand(-1, -1, 4, 4)
            x = leaky_relu(self.join(torch.cat([x, planes], dim=1)))
            return self.out(leaky_relu(self.dense(x.flatten(1)))).squeeze(1).float()
        x = leaky_relu(self.dense(x.flatten(1)))
        # Equalized as `out` is: a sum of F products of values of about 1, scaled to about 1.
        return self.out(x).squeeze(1).float() + (text_BF * x).float().sum(dim=1) / math.sqrt(x.shape[1])

    def forward(self, images_B3RR: Tensor, text_BE: Tensor | None, alpha: float) -> Tensor:
        return self.judge(self.trunk(images_B3RR, alpha), text_BE)


def take_over(network: nn.Module, parent: Mapping[str, Tensor]) -> None:
    """Copy the weights of every layer that the parent stage had; new layers keep what `initialise` gave them."""
    own = network.state_dict()
    with torch.no_grad():
        for name in own.keys() & parent.keys():
            own[name].copy_(parent[name])


# The share of the drawn weights that stays in layers that pass on what is there, so that they have more to build on.
DRAWN_SHARE = 0.2
# Colours ride through a block of other width on this many feature maps: each channel and its negative, since leaky
# ReLUs keep only what is positive.
RIDING = 6
TWICE_LEAKY = 1 + 0.2**2  # x and -x through two leaky ReLUs each: their difference is this much of x


def start_as_identity(network: "FaceModel | Discriminator") -> None:
    """Let the newest block and its RGB layer pass on what the parent stage has learned, nearly unchanged.

    Where the block keeps the number of feature maps, its kernels become the identity and its RGB layer that of the
    stage before. Elsewhere the RGB picture rides through it. Nearly, because leaky ReLUs scale negative features once
    more, pixel norm scales all, and a share of the drawn weights stays.
    """
    half = network.generator if isinstance(network, FaceModel) else network
    block = half.blocks[str(half.resolution)]
    rgb = half.to_rgb if isinstance(half, Generator) else half.from_rgb
    new, old = rgb[str(half.resolution)], rgb[str(half.resolution // 2)]
    narrow = min(*block.conv1.weight.shape[:2], *block.conv2.weight.shape[:2])
    with torch.no_grad():
        if narrow == max(*block.conv1.weight.shape[:2], *block.conv2.weight.shape[:2]):
            for convolution in (block.conv1, block.conv2):
                convolution.weight.mul_(DRAWN_SHARE)
                _add(convolution, torch.eye(narrow))
            new.load_state_dict(old.state_dict())
        elif narrow >= RIDING:
            (_ride_generator if isinstance(half, Generator) else _ride_discriminator)(block, new, old)


def _ride_generator(block: GeneratorBlock, new: EqualizedConv2d, old: EqualizedConv2d) -> None:
    """The old picture and its negative become the first feature maps; the new RGB layer takes their difference."""
    signs = _signs(old.weight.device)
    for convolution in (block.conv1, block.conv2):
        convolution.weight[:RIDING] *= DRAWN_SHARE
    _add(block.conv1, signs @ (old.weight * old.scale)[:, :, 0, 0])
    block.conv1.bias[:RIDING] = signs @ old.bias
    _add(block.conv2, torch.eye(RIDING))
    new.weight.mul_(DRAWN_SHARE)
    _add(new, signs.T / TWICE_LEAKY)


def _ride_discriminator(block: "DiscriminatorBlock", new: EqualizedConv2d, old: EqualizedConv2d) -> None:
    """The picture and its negative become the first feature maps; the last convolution is the old RGB layer on them."""
    signs = _signs(old.weight.device)
    for convolution in (new, block.conv1):
        convolution.weight[:RIDING] *= DRAWN_SHARE
    _add(new, signs)
    _add(block.conv1, torch.eye(RIDING))
    block.conv2.weight.mul_(DRAWN_SHARE)
    _add(block.conv2, (old.weight * old.scale)[:, :, 0, 0] @ signs.T / TWICE_LEAKY)
    block.conv2.bias.copy_(old.bias)


def _signs(device: torch.device) -> Tensor:
    """[6, 3]: the channels, then their negatives."""
    return torch.cat([torch.eye(3), -torch.eye(3)]).to(device)


def _add(convolution: EqualizedConv2d, matrix_OI: Tensor) -> None:
    """Add a 1x1 convolution to the middle of the first feature maps' kernels."""
    outputs, inputs = matrix_OI.shape
    middle = convolution.weight.shape[-1] // 2
    convolution.weight[:outputs, :inputs, middle, middle] += matrix_OI.to(convolution.weight) / convolution.scale


def fade_reals(images_B3RR: Tensor, alpha: float) -> Tensor:
    """Real images as sharp as the generator's are at this alpha (ProGAN figure 2, caption)."""
    if alpha >= 1 or images_B3RR.shape[-1] <= 4:
        return images_B3RR
    return torch.lerp(upsample(downsample(images_B3RR)), images_B3RR, alpha)
