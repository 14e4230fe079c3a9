"""Photographs that look alike, by their global descriptors."""

import numpy as np
from numpy.typing import NDArray

from engine.pairs import PairIndexList

BLOCK_ELEMENTS = 1 << 22
"""Similarities held at a time: 16 MB of float32, however many photographs there are."""


def nearest_pairs(allowed: PairIndexList, descriptors: NDArray[np.float32], count: int) -> PairIndexList:
    """Those of the allowed pairs in which one photograph is among the `count` most similar to the other.

    Of equally similar ones, those that come first in `allowed.entries` are taken.

    Args:
        descriptors: [n, D] float32, a row for each of `allowed.entries`; rows that are not finite take no part.

    Returns:
        The pairs in the order of `allowed`.
    """
    number = len(allowed.entries)
    if descriptors.ndim != 2 or len(descriptors) != number:
        raise ValueError(f"expected {number} descriptors [n, D], got an array of shape {descriptors.shape}")
    usable = np.asarray(np.isfinite(descriptors).all(axis=1))
    unit = np.where(usable[:, None], descriptors, 0).astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    # Each pair once from either side, by photograph: the partners of one stand together.
    of = np.concatenate([allowed.first, allowed.second])
    partner = np.concatenate([allowed.second, allowed.first])
    pair = np.tile(np.arange(len(allowed), dtype=np.int32), 2)
    order = np.argsort(of, kind="stable")
    partner, pair = partner[order], pair[order]
    ends = np.cumsum(np.bincount(of, minlength=number))
    chosen = np.zeros(len(allowed), bool)
    rows = max(1, BLOCK_ELEMENTS // max(1, number))
    for start in range(0, number, rows):
        similarity = unit[start : start + rows] @ unit.T
        for row, similar in enumerate(similarity, start):
            part = slice(int(ends[row - 1]) if row else 0, int(ends[row]))
            mates = partner[part]
            keep = usable[mates] & usable[row]
            mates, pairs = mates[keep], pair[part][keep]
            if len(mates) > count:
                values = similar[mates]
                # Only what reaches the least similar of the `count` best needs sorting.
                near = np.flatnonzero(values >= np.partition(values, len(values) - count)[len(values) - count])
                near = near[np.lexsort((mates[near], -values[near]))[:count]]
                pairs = pairs[near]
            chosen[pairs] = True
    return allowed.take(chosen)
