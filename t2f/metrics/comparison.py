"""What a metric looks at, and what it is.

N images, R resolution in px, r the same or 16, F features, J judge's embedding
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from t2f.data import Split
from t2f.judge import Judge
from t2f.metrics.brought import NOTHING, Brought
from t2f.metrics.catalogue import Better
from t2f.metrics.figures import Figure, block_figure, block_rows, by_image, mean_figure
from t2f.metrics.nearest import nearest_training, small_pictures
from t2f.pairs import Pairs, caption_tokens
from t2f.portions import portion

Extractor = Callable[[Tensor], Tensor]  # uint8 images_N3RR -> features_NF


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """N faces beside N real ones, row by row for the same captions; a part of the rows is a block.

    Metrics share what is costly: every entry of `_known` is a tuple of tensors with a row for each image.
    """

    reals_N3RR: Tensor  # uint8
    fakes_N3RR: Tensor  # uint8
    split: Split  # that the reals are from
    pairs: Pairs
    attribute_names: tuple[str, ...]  # of the data; () where it knows none
    training_T3rr: np.ndarray | None  # uint8, at 16 px or less; None where the reals are training images themselves
    judge: Judge | None
    brought: Brought = NOTHING
    is_block: bool = False  # one of a few whose spread is wanted: a rougher value will do
    _known: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def resolution(self) -> int:
        return self.reals_N3RR.shape[-1]

    @property
    def has_captions(self) -> bool:
        return len(self.pairs.caption_N) > 0

    def beside(self, fakes_N3RR: Tensor) -> "Comparison":
        """The same reals beside other faces."""
        return replace(self, fakes_N3RR=fakes_N3RR, _known={})

    def rows(self, rows: np.ndarray, *, is_block: bool = False) -> "Comparison":
        """The comparison of these rows alone; what is known of them already comes along."""
        picked = torch.from_numpy(rows)
        captions, wrong = self.pairs.caption_N, self.pairs.wrong_N
        if self.has_captions:
            captions, wrong = captions[rows], wrong[rows]
        return replace(
            self,
            reals_N3RR=self.reals_N3RR[picked],
            fakes_N3RR=self.fakes_N3RR[picked],
            pairs=Pairs(image_N=self.pairs.image_N[rows], caption_N=captions, wrong_N=wrong),
            is_block=is_block,
            _known={name: tuple(one[picked] for one in known) for name, known in self._known.items()},
        )

    def distinct(self, at_most: int) -> "Comparison":
        """Every image once, for metrics that look for neighbours, and no more than they can pair."""
        count = min(self.pairs.num_distinct, at_most)
        return self if count == len(self.reals_N3RR) else self.rows(np.arange(count), is_block=self.is_block)

    def judge_features(self) -> tuple[Tensor, Tensor]:
        """reals_NF, fakes_NF: what the judge's last convolution sees, its means over the picture; 128 features."""
        return self._both("judge features", self.judge.pooled_features)

    def inception_features(self) -> tuple[Tensor, Tensor]:
        """reals_NF, fakes_NF: Inception's 2048 pool features."""
        return self._both("inception features", self.brought.inception.features)

    def small_pictures(self) -> tuple[Tensor, Tensor]:
        """reals_NV, fakes_NV: pixels at 16 px or less, 0..1."""
        return self._both("small pictures", small_pictures)

    def nearest_training(self) -> tuple[Tensor, Tensor]:
        """reals_N, fakes_N: distances to the nearest training image."""
        reals, fakes = self.small_pictures()
        return self._once(
            "nearest training",
            lambda: (nearest_training(reals, self.training_T3rr), nearest_training(fakes, self.training_T3rr)),
        )

    def embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """fakes_NJ, right_NJ, wrong_NJ: the judge's codes of the faces, their captions and wrong captions."""
        return self._once(
            "embeddings",
            lambda: (
                self.judge.embed_all_images(self.fakes_N3RR),
                self.judge.embed_text(*caption_tokens(self.split, self.pairs.caption_N)),
                self.judge.embed_text(*caption_tokens(self.split, self.pairs.wrong_N)),
            ),
        )

    def clip_embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """fakes_NJ, right_NJ, wrong_NJ: what `embeddings` gives, by the CLIP that the user brings."""
        clip, captions = self.brought.clip, self.split.captions
        return self._once(
            "clip embeddings",
            lambda: (
                clip.embed_images(self.fakes_N3RR),
                clip.embed_sentences([captions[caption] for caption in self.pairs.caption_N]),
                clip.embed_sentences([captions[caption] for caption in self.pairs.wrong_N]),
            ),
        )

    def _both(self, name: str, extract: Extractor) -> tuple[Tensor, Tensor]:
        return self._once(name, lambda: (in_batches(extract, self.reals_N3RR), in_batches(extract, self.fakes_N3RR)))

    def _once(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if name not in self._known:
            with torch.no_grad():
                self._known[name] = make()
        return self._known[name]


def in_batches(extract: Extractor, images_N3RR: Tensor) -> Tensor:
    return torch.cat([extract(images) for images in images_N3RR.split(portion(images_N3RR.shape[-1]))])


# One number for all the faces, or one for each of them, by the name of the figure.
Values = Mapping[str, float | np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One thing to measure. Further ones are found by the entry point group `t2f.metrics`.

    measure: gives one or more figures; a number is a distance of sets, whose interval comes from blocks of images; an
    array [N] has a value for each face, whose mean is the figure. It must not use global random state.
    """

    name: str
    better: Better
    measure: Callable[[Comparison], Values]
    smallest: int = 4  # px
    largest: int | None = None  # px
    needs: frozenset[str] = frozenset()  # of "captions", "attributes", "training", "judge", "inception", "clip"
    real: str = "others"  # the reals' own value is that of: "others" (training images), or "held-out" (the reals)
    at_stage_end: bool = False  # quick enough for every stage's end
    note: Callable[[Comparison, Values], str | None] | None = None

    def missing(self, comparison: Comparison) -> str | None:
        """Why it cannot be measured here; None where it can."""
        if comparison.resolution < self.smallest:
            return f"undefined below {self.smallest} px"
        if self.largest is not None and comparison.resolution > self.largest:
            return f"only up to {self.largest} px"
        has = {
            "captions": comparison.has_captions,
            "judge": comparison.judge is not None,
            "attributes": bool(comparison.attribute_names),
            "training": comparison.training_T3rr is not None,
            "inception": comparison.brought.inception is not None,
            "clip": comparison.brought.clip is not None,
        }
        return next((WHY_NOT[need] for need in sorted(self.needs) if not has[need]), None)

    def figures(self, comparison: Comparison) -> dict[str, Figure]:
        """Its figures with their intervals; none where it has no value."""
        values = self.measure(comparison)
        note = None if self.note is None else self.note(comparison, values)
        ordinal_N = comparison.pairs.ordinals
        found = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                parts = by_image(value, ordinal_N) if len(value) == len(ordinal_N) else value
                found[name] = mean_figure(parts, note=note)
        numbers = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
        if numbers:
            parts = [self.measure(comparison.rows(rows, is_block=True)) for rows in block_rows(ordinal_N)]
            for name, value in numbers.items():
                spread = np.array([part.get(name, np.nan) for part in parts], dtype=np.float64)
                lowest = 0.0 if min(value, *spread) >= 0 else -np.inf  # unbiased estimates may be below 0
                found[name] = block_figure(float(value), spread, bounds=(lowest, np.inf), note=note)
        return {name: figure for name, figure in found.items() if np.isfinite(figure.value)}


WHY_NOT = {
    "attributes": "the data knows no attributes",
    "captions": "the data has no captions",
    "clip": "needs --clip FOLDER",
    "inception": "needs --inception WEIGHTS",
    "judge": "the data has no judge",
    "training": "the reference images are training images",
}


def measure_all(comparison: Comparison, metrics: Sequence[Metric]) -> dict[str, Figure]:
    """The figures of all metrics that can be measured here."""
    found: dict[str, Figure] = {}
    for metric in metrics:
        if metric.missing(comparison) is None:
            found |= metric.figures(comparison)
    return found
