"""Pictures for the tests of metrics."""

import torch


def images(count: int, resolution: int, seed: int, *, shift: int = 0) -> torch.Tensor:
    """Smooth random pictures, so that patches have structure."""
    random = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 4, 4, generator=random)
    large = torch.nn.functional.interpolate(small, size=(resolution, resolution), mode="bilinear")
    return (large * 200 + shift).clamp(0, 255).to(torch.uint8)


def noise_images(count: int, resolution: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, resolution, resolution), dtype=torch.uint8, generator=random)
