"""Drawing with a face model from captions and named noise, for evaluations and walls.

N images, S seeds
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from t2f.layers import stream_seed
from t2f.networks import FaceModel
from t2f.portions import portion
from t2f.reading import Reader
from t2f.text import Captions


@torch.no_grad()
def draw(model: FaceModel, captions: Captions, noise_NZ: Tensor) -> Tensor:
    """uint8 images_N3RR, a portion at a time; a model without words does not look at the captions."""
    device = next(model.parameters()).device
    resolution = model.generator.resolution
    pictures_N3RR = torch.empty(len(noise_NZ), 3, resolution, resolution, dtype=torch.uint8)
    for rows in torch.arange(len(noise_NZ)).split(portion(resolution)):
        text_BE = model.embed(captions.rows(rows).to(device))
        pictures_N3RR[rows] = model.draw(text_BE, noise_NZ[rows].to(device)).cpu()
    return pictures_N3RR


def noise(model: FaceModel, name: str, count: int) -> Tensor:
    """noise_NZ that depends on nothing but its name and size."""
    random = torch.Generator().manual_seed(stream_seed(0, name))
    return torch.randn(count, model.conditioning_size + model.noise_size, generator=random)


def draw_wall(model: FaceModel, reader: Reader, captions: Sequence[str], seeds: int) -> Tensor:
    """The probe: every caption with every seed's noise, row by row; the same noise under all captions."""
    noise_SZ = torch.cat([noise(model, f"seed {seed}", 1) for seed in range(seeds)])
    rows = torch.arange(len(captions)).repeat_interleave(seeds)
    return draw(model, reader.of_sentences(captions).rows(rows), noise_SZ.repeat(len(captions), 1))
