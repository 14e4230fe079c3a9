"""Nearest neighbours between two sets of descriptors: shared by the matchers, not a plugin itself."""

import numpy as np
from numpy.typing import NDArray

BLOCK_ELEMENTS = 1 << 22
"""Similarities held at a time: 16 MB of float32, however large the maps are."""


def nearest_both_ways(
    a: NDArray[np.float16], b: NDArray[np.float16], k: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The k nearest of b for every row of a, and of a for every row of b, by cosine similarity in float32.

    Both directions read the same block of similarities, so they can never disagree about a pair.

    Args:
        a: [Na, D] L2-normalised descriptors; `b` likewise [Nb, D].
        k: neighbours wanted, at least 1; fewer where the other side has fewer.

    Returns:
        [Na, min(k, Nb)] rows of b, and [Nb, min(k, Na)] rows of a; nearest first, ties to the lowest index.
    """
    k_in_b, k_in_a = min(k, len(b)), min(k, len(a))
    of_a = np.empty((len(a), k_in_b), np.intp)
    best_of_b = np.empty((0, len(b)), np.float32)
    of_b = np.empty((0, len(b)), np.intp)
    if not len(a) or not len(b):
        return of_a, of_b.T.reshape(len(b), k_in_a)
    b_transposed = b.astype(np.float32).T
    rows = max(1, BLOCK_ELEMENTS // len(b))
    for start in range(0, len(a), rows):
        block = a[start : start + rows].astype(np.float32) @ b_transposed
        of_a[start : start + rows] = _top(block, k_in_b)[0].T
        index, similarity = _top(block.T, k_in_a)
        # Earlier rows stand first, so the stable sort leaves ties to the lowest index.
        of_b = np.concatenate([of_b, index + start])
        best_of_b = np.concatenate([best_of_b, similarity])
        order = np.argsort(-best_of_b, axis=0, kind="stable")[:k_in_a]
        of_b, best_of_b = np.take_along_axis(of_b, order, 0), np.take_along_axis(best_of_b, order, 0)
    return of_a, of_b.T


def _top(similarity: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Columns and values of the k largest of every row, [k, rows] each, largest first, ties to the lowest column."""
    k = min(k, similarity.shape[1])
    row = np.arange(len(similarity))
    index = np.empty((k, len(similarity)), np.intp)
    value = np.empty((k, len(similarity)), np.float32)
    for rank in range(k):
        index[rank] = similarity.argmax(axis=1)
        value[rank] = similarity[row, index[rank]]
        similarity[row, index[rank]] = -np.inf
    for rank in range(k):
        similarity[row, index[rank]] = value[rank]
    return index, value


def cosine_of_pairs(
    a: NDArray[np.float16], b: NDArray[np.float16], index_a: NDArray[np.intp], index_b: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Cosine similarity of pairs of rows, [M] float64 within -1..1.

    Sums of float16 products are exact in float64, so a value does not depend on block sizes, the linear algebra
    library or which image is called a. Rounding to float16 can lift a norm above 1: hence the limits.
    """
    similarity = np.empty(len(index_a), np.float64)
    rows = max(1, BLOCK_ELEMENTS // max(1, a.shape[1]))
    for start in range(0, len(index_a), rows):
        part = slice(start, start + rows)
        left, right = a[index_a[part]].astype(np.float64), b[index_b[part]].astype(np.float64)
        similarity[part] = np.einsum("md,md->m", left, right)
    return np.clip(similarity, -1.0, 1.0)
