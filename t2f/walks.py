"""Ways from one face to another: through sentences at fixed noise, or through seeds at a fixed sentence.

F frames, N faces beside each other, Z latent, R resolution in px
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from t2f.errors import SpecError
from t2f.generate import Bundle

MAX_FRAMES = 3600


def spherical(start_Z: Tensor, end_Z: Tensor, share: float) -> Tensor:
    """The point at this share of the great circle's arc, its length between theirs (arXiv:1609.04468, section 2.1).

    Between independent normal vectors a straight line would lead through lengths that no noise has.
    """
    lengths = start_Z.norm(), end_Z.norm()
    if min(lengths) == 0:
        return torch.lerp(start_Z, end_Z, share)
    angle = torch.arccos((start_Z / lengths[0] @ (end_Z / lengths[1])).clamp(-1, 1))
    if angle.sin() < 1e-6:  # the same direction, or the opposite one, to which every arc is as short
        return torch.lerp(start_Z, end_Z, share)
    return (torch.sin((1 - share) * angle) * start_Z + torch.sin(share * angle) * end_Z) / torch.sin(angle)


def places(stops: int, frames: int) -> Iterator[tuple[int, float]]:
    """For each frame the stop that it comes from and the share of the way to the next: evenly, both ends included."""
    for frame in range(frames):
        stop, share = divmod(frame * (stops - 1), frames - 1)
        yield (stop, share / (frames - 1)) if stop < stops - 1 else (stops - 2, 1.0)


def through_captions(
    bundle: Bundle, sentences: Sequence[str], seeds: Sequence[int], *, truncation: float, frames: int
) -> Iterator[np.ndarray]:
    """Frames, uint8 [S, 3, R, R]: one face for each seed, going from sentence to sentence.

    Noise stays; the conditioning goes on a straight line, as it is a mean and a deviation of one linear layer.
    """
    _check_walk(bundle, len(sentences), "sentences", frames)
    text_ME, noise_SZ = bundle.embed(sentences), bundle.noise(seeds, truncation=truncation)
    stops = [bundle.latents(text_E, noise_SZ) for text_E in text_ME]
    ways = places(len(stops), frames)
    return (bundle.draw_latents(torch.lerp(stops[stop], stops[stop + 1], share)) for stop, share in ways)


def through_seeds(
    bundle: Bundle, sentences: Sequence[str], seeds: Sequence[int], *, truncation: float, frames: int
) -> Iterator[np.ndarray]:
    """Frames, uint8 [M, 3, R, R]: one face for each sentence, their common noise going from seed to seed."""
    _check_walk(bundle, len(seeds), "seeds", frames, reads_words=False)
    text_ME, noise_SZ = bundle.embed(sentences), bundle.noise(seeds, truncation=truncation)

    def latents(noise_1Z: Tensor) -> Tensor:
        rows = [bundle.latents(None if text_ME is None else text_ME[row], noise_1Z) for row in range(len(sentences))]
        return torch.cat(rows)

    ways = places(len(seeds), frames)
    return (
        bundle.draw_latents(latents(spherical(noise_SZ[stop], noise_SZ[stop + 1], share)[None])) for stop, share in ways
    )


def _check_walk(bundle: Bundle, stops: int, what: str, frames: int, *, reads_words: bool = True) -> None:
    if reads_words and not bundle.reads_words:
        raise SpecError("this model was trained without words; give --interpolate seeds")
    if stops < 2:
        raise SpecError(f"--interpolate {what.replace('sentences', 'captions')} needs two or more {what}; give another")
    if not stops <= frames <= MAX_FRAMES:
        raise SpecError(
            f"--frames {frames} is not allowed; it must be from {stops}, one for each stop, to {MAX_FRAMES}"
        )
