"""Every metric: ours, and those that other packages bring by the entry point group `t2f.metrics`."""

from importlib.metadata import entry_points

import numpy as np
import torch
from torch import Tensor

from t2f.errors import UserError
from t2f.metrics.catalogue import BETTER
from t2f.metrics.colour import colour_distance
from t2f.metrics.comparison import Comparison, Metric, Values
from t2f.metrics.features import frechet_distance, precision_recall
from t2f.metrics.kernels import gaussian_mmd, kernel_inception_distance
from t2f.metrics.matching import hits, note, wrong_table
from t2f.metrics.nearest import copies, nearest_other
from t2f.metrics.similarity import ms_ssim
from t2f.metrics.wasserstein import DIRECTIONS, laplacian_swd, pixel_distance

ENTRY_POINT_GROUP = "t2f.metrics"
BLOCK_DIRECTIONS = 64  # the spread between blocks needs fewer than the value itself
MOST_PAIRED = 2000  # images of which every pair is looked at

TEXT = frozenset({"captions", "judge"})
CLIP = frozenset({"captions", "clip"})


def _directions(comparison: Comparison) -> int:
    return BLOCK_DIRECTIONS if comparison.is_block else DIRECTIONS


def _swd(comparison: Comparison) -> Values:
    levels = laplacian_swd(comparison.reals_N3RR, comparison.fakes_N3RR, directions=_directions(comparison))
    each = {f"swd_{resolution}": value for resolution, value in levels.items()}
    return {"swd": sum(levels.values()) / len(levels), **(each if len(each) > 1 else {})}


def _pixel_distance(comparison: Comparison) -> Values:
    directions = _directions(comparison)
    return {"pixel_distance": pixel_distance(comparison.reals_N3RR, comparison.fakes_N3RR, directions=directions)}


def _pixel_mmd(comparison: Comparison) -> Values:
    return {"pixel_mmd": gaussian_mmd(*comparison.distinct(MOST_PAIRED).small_pictures())}


def _colour_distance(comparison: Comparison) -> Values:
    return {"colour_distance": colour_distance(comparison.reals_N3RR, comparison.fakes_N3RR)}


def _shuffle_gap(comparison: Comparison) -> Values:
    """How much better each face fits its own caption than a wrong one: about 0 where the text is ignored."""
    return {"shuffle_gap": _gap(*comparison.embeddings())}


def _gap(fakes_NJ: Tensor, right_NJ: Tensor, wrong_NJ: Tensor) -> np.ndarray:
    return (fakes_NJ * (right_NJ - wrong_NJ)).sum(dim=1).double().numpy()


def _r_precision(comparison: Comparison) -> Values:
    wrong_NK = wrong_table(comparison.split, comparison.pairs)
    return {} if wrong_NK is None else {"r_precision": hits(*comparison.embeddings()[:2], wrong_NK)}


def _candidates(comparison: Comparison, values: Values) -> str | None:
    wrong_NK = wrong_table(comparison.split, comparison.pairs)
    return None if wrong_NK is None else note(next(iter(values.values())), wrong_NK.shape[1])


def _clip_score(comparison: Comparison) -> Values:
    """Cosine of face and caption, negative ones as 0, times 100 (arXiv:2104.08718 has 2.5 in place of 100)."""
    fakes_NJ, right_NJ, _ = comparison.clip_embeddings()
    return {"clip_score": 100 * (fakes_NJ * right_NJ).sum(dim=1).clamp(min=0).double().numpy()}


def _clip_shuffle_gap(comparison: Comparison) -> Values:
    return {"clip_shuffle_gap": _gap(*comparison.clip_embeddings())}


def _clip_r_precision(comparison: Comparison) -> Values:
    wrong_NK = wrong_table(comparison.split, comparison.pairs)
    return {} if wrong_NK is None else {"clip_r_precision": hits(*comparison.clip_embeddings()[:2], wrong_NK)}


def _attributes(comparison: Comparison) -> Values:
    """For each face the share of asked-for attributes that the judge finds in it, and which."""
    found_NA = comparison.judge.attributes(comparison.fakes_N3RR).numpy()
    right_NA = (found_NA == comparison.split.attributes_NA[comparison.pairs.image_N]).astype(np.float64)
    each = {f"attribute_{name}": right_NA[:, column] for column, name in enumerate(comparison.attribute_names)}
    return {"attribute_share": right_NA.mean(axis=1), **each}


def _nearest_face(comparison: Comparison) -> Values:
    reals_NV, fakes_NV = comparison.distinct(MOST_PAIRED).small_pictures()
    real = nearest_other(reals_NV)
    return {"nearest_face": nearest_other(fakes_NV) / real if real > 0 else float("nan")}


def _nearest_training(comparison: Comparison) -> Values:
    reals_N, fakes_N = comparison.nearest_training()
    real = float(reals_N.median())
    return {"nearest_training": float(fakes_N.median()) / real if real > 0 else float("nan")}


def _copied_share(comparison: Comparison) -> Values:
    reals_N, fakes_N = comparison.nearest_training()
    return {"copied_share": copies(fakes_N, reals_N).double().numpy()}


def _ms_ssim(comparison: Comparison) -> Values:
    """Of faces two by two, which are strangers to each other; each pair's value stands for both of its faces."""
    fakes = comparison.fakes_N3RR
    order = torch.randperm(len(fakes), generator=torch.Generator().manual_seed(0))
    half = len(fakes) // 2
    return {"ms_ssim": ms_ssim(fakes[order[:half]], fakes[order[half : 2 * half]]).numpy()}


def _judge_kid(comparison: Comparison) -> Values:
    return {"judge_kid": kernel_inception_distance(*comparison.distinct(MOST_PAIRED).judge_features())}


def _judge_frechet(comparison: Comparison) -> Values:
    return {"judge_frechet": frechet_distance(*comparison.judge_features())}


def _precision_recall(comparison: Comparison) -> Values:
    is_real_N, is_covered_N = precision_recall(*comparison.distinct(MOST_PAIRED).judge_features())
    if len(is_real_N) == 0:
        return {}
    return {"precision": is_real_N.double().numpy(), "recall": is_covered_N.double().numpy()}


def _fid(comparison: Comparison) -> Values:
    return {"fid": frechet_distance(*comparison.inception_features())}


def _few_images(comparison: Comparison, values: Values) -> str | None:
    count, features = len(comparison.reals_N3RR), comparison.inception_features()[0].shape[1]
    return f"{count} images for {features} features: biased upwards" if count < features * 5 else None


def _kid(comparison: Comparison) -> Values:
    return {"kid": kernel_inception_distance(*comparison.distinct(MOST_PAIRED).inception_features())}


def _metric(name: str, measure, **more) -> Metric:
    return Metric(name=name, better=BETTER[name], measure=measure, **more)


BUILTIN = (
    _metric("swd", _swd, smallest=16, at_stage_end=True),
    _metric("pixel_distance", _pixel_distance, largest=8, at_stage_end=True),
    _metric("pixel_mmd", _pixel_mmd, largest=8, at_stage_end=True),
    _metric("colour_distance", _colour_distance, at_stage_end=True),
    _metric("shuffle_gap", _shuffle_gap, needs=TEXT, real="held-out", at_stage_end=True),
    _metric("r_precision", _r_precision, needs=TEXT, real="held-out", at_stage_end=True, note=_candidates),
    _metric("attribute_share", _attributes, needs=TEXT | {"attributes"}, real="held-out", at_stage_end=True),
    _metric("nearest_face", _nearest_face, real="held-out", at_stage_end=True),
    _metric("nearest_training", _nearest_training, needs=frozenset({"training"}), real="held-out", at_stage_end=True),
    _metric("copied_share", _copied_share, needs=frozenset({"training"}), real="held-out", at_stage_end=True),
    _metric("ms_ssim", _ms_ssim, smallest=16, real="held-out"),
    _metric("judge_kid", _judge_kid, needs=frozenset({"judge"})),
    _metric("judge_frechet", _judge_frechet, needs=frozenset({"judge"})),
    _metric("precision", _precision_recall, needs=frozenset({"judge"})),
    _metric("fid", _fid, needs=frozenset({"inception"}), note=_few_images),
    _metric("kid", _kid, needs=frozenset({"inception"})),
    _metric("clip_score", _clip_score, needs=CLIP, real="held-out"),
    _metric("clip_shuffle_gap", _clip_shuffle_gap, needs=CLIP, real="held-out"),
    _metric("clip_r_precision", _clip_r_precision, needs=CLIP, real="held-out", note=_candidates),
)
STAGE_END = tuple(metric for metric in BUILTIN if metric.at_stage_end)


def all_metrics() -> dict[str, Metric]:
    """Name -> metric; UserError where an installed package brings one that is none, or takes a name of ours."""
    found = {metric.name: metric for metric in BUILTIN}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            metric = entry.load()
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the metric {entry.name!r} ({entry.value}) cannot be loaded: {error}; correct or uninstall its package"
            ) from error
        if not isinstance(metric, Metric) or metric.name != entry.name:
            raise UserError(
                f"the entry point {entry.name!r} of {ENTRY_POINT_GROUP} ({entry.value}) is no Metric of that name; "
                "correct or uninstall its package"
            )
        if metric.name in BETTER:
            raise UserError(f"the package of {entry.value} brings a metric {entry.name!r}, which T2F has; rename it")
        found[metric.name] = metric
    return found
