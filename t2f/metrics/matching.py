"""R-precision: does a picture fit its own caption better than those of other pictures?

N pairs, P pairs of the pool, K wrong captions a pair, V words, J judge's embedding
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from t2f.data import Split
from t2f.pairs import Pairs

CANDIDATES = (99, 19)  # wrong captions: the second where the first are not to be had
POOL = 1000  # pairs whose captions serve as wrong ones
ALIKE = 0.75  # share of common words from which on two captions are near duplicates
FOLDS = 10


@lru_cache(maxsize=4)
def wrong_table(split: Split, pairs: Pairs) -> np.ndarray | None:
    """int64 [N, K] places in the pairs whose captions are wrong for each pair; None where not even 19 are to be had.

    Never a caption of the same image, one with almost the same words, or, where attributes are known, of an image that
    has all of them in common: each of these would be right as well.
    """
    count = len(pairs.caption_N)
    pool = np.arange(min(pairs.num_distinct, POOL))  # a caption of each image
    fits_NP = _fits(split, pairs, pool)
    random = np.random.default_rng([count, len(pool), FOLDS])
    order_NP = np.where(fits_NP, 2.0, random.random(fits_NP.shape))
    num_wrong = int((~fits_NP).sum(axis=1).min(initial=len(pool)))
    for candidates in CANDIDATES:
        if num_wrong >= candidates:
            return np.argpartition(order_NP, candidates - 1, axis=1)[:, :candidates]
    return None


def _fits(split: Split, pairs: Pairs, pool: np.ndarray) -> np.ndarray:
    """bool [N, P]: captions of the pool that are, or may be, right for a pair's image."""
    image_N, caption_N = pairs.image_N, pairs.caption_N
    fits_NP = image_N[:, None] == image_N[None, pool]
    fits_NP |= split.caption_text_group_M[caption_N][:, None] == split.caption_text_group_M[caption_N[pool]][None, :]
    words_NV = _words(split, caption_N)
    common_NP = (words_NV @ words_NV[pool].T).numpy()
    sizes_N = words_NV.sum(dim=1).numpy()
    fits_NP |= common_NP >= ALIKE * (sizes_N[:, None] + sizes_N[None, pool] - common_NP)
    if split.attributes_NA.shape[1]:
        attributes_NA = split.attributes_NA[image_N]
        fits_NP |= (attributes_NA[:, None, :] == attributes_NA[None, pool, :]).all(axis=2)
    return fits_NP


def _words(split: Split, captions_N: np.ndarray) -> Tensor:
    """float [N, V]: 1 where a caption has the word."""
    tokens_NT = torch.from_numpy(split.tokens_MT[captions_N].astype(np.int64))
    lengths_N = torch.from_numpy(split.token_lengths_M[captions_N])
    words_NV = torch.zeros(len(captions_N), int(split.tokens_MT.max(initial=0)) + 1)
    is_word_NT = torch.arange(tokens_NT.shape[1])[None, :] < lengths_N[:, None]
    words_NV.scatter_(1, tokens_NT.where(is_word_NT, torch.tensor(0)), 1.0)
    words_NV[:, 0] = 0  # padding
    return words_NV


def hits(images_NJ: Tensor, text_NJ: Tensor, wrong_NK: np.ndarray) -> np.ndarray:
    """float64 hit_N: 1 where a picture's cosine with its caption is above that with every wrong one."""
    found = []
    for rows in torch.arange(len(images_NJ)).split(256):
        wrong_BKJ = text_NJ[torch.from_numpy(wrong_NK)[rows]]
        best_B = torch.einsum("bj,bkj->bk", images_NJ[rows], wrong_BKJ).amax(dim=1)
        found.append((images_NJ[rows] * text_NJ[rows]).sum(dim=1) > best_B)
    return torch.cat(found).double().numpy()


def note(hit_N: np.ndarray, candidates: int) -> str:
    """What is to be said beside every R-precision: against how many, and its spread over ten folds."""
    folds = [fold.mean() for fold in np.array_split(hit_N, min(FOLDS, len(hit_N)))]
    chance = 1 / (candidates + 1)
    return f"1 against {candidates}, chance {chance:.0%}; deviation over {len(folds)} folds {np.std(folds):.3f}"
