"""The names of all figures that evaluations give, and which way is better. No torch in here."""

from typing import Literal

Better = Literal["lower", "higher", "neither"]

# "neither": it is read beside the reals' own value, or only in a gate.
BETTER: dict[str, Better] = {
    "score": "higher",
    "fidelity": "higher",
    "text": "higher",
    "swd": "lower",
    "pixel_distance": "lower",
    "pixel_mmd": "lower",
    "colour_distance": "lower",
    "shuffle_gap": "higher",
    "r_precision": "higher",
    "attribute_share": "higher",
    "nearest_face": "neither",
    "nearest_training": "neither",
    "copied_share": "lower",
    "ms_ssim": "neither",
    "judge_kid": "lower",
    "judge_frechet": "lower",
    "precision": "higher",
    "recall": "higher",
    "kid": "lower",
    "fid": "lower",
    "clip_score": "higher",
    "clip_shuffle_gap": "higher",
    "clip_r_precision": "higher",
}
# Each looks at something else, so a mean of their ranks counts nothing twice; those that a resolution has are taken.
MEAN_RANK = ("swd", "pixel_distance", "pixel_mmd", "colour_distance", "shuffle_gap", "r_precision")
