"""Pairs of tokens that are each other's nearest, decided exactly: shared by matchers, not a plugin itself.

A fast product finds the candidates; wherever its error could change who is nearest, dot products decide that are exact.
So a result depends neither on the library that multiplies nor on threads, blocks, or which image is called a.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Matches

TILE_ELEMENTS = 1 << 22
"""Similarities held at a time: 16 MB."""
MANY_CANDIDATES = 16
"""Exact dot products per token above which all of them are computed: a plain field has many equal tokens."""

Index = NDArray[np.intp]


def widen(descriptors: NDArray[np.float16]) -> NDArray[np.float32]:
    """`descriptors.astype(np.float32)` for finite values, three times as fast where NumPy converts one by one."""
    bits = np.ascontiguousarray(descriptors).view(np.uint16).astype(np.uint32)
    sign = (bits & 0x8000) << 16
    bits &= 0x7FFF
    bits <<= 13
    values = bits.view(np.float32)
    # Exponents of float16 are biased by 15, those of float32 by 127; the factor also makes subnormal numbers right.
    values *= np.float32(2.0**112)
    bits |= sign
    return values


def error_bound(dim: int) -> float:
    """Largest error of a float32 dot product of `dim` terms of unit vectors of float16 values, in any order of sums.

    Products of two float16 values are exact in float32, so only the sums are rounded: Higham, Accuracy and Stability
    of Numerical Algorithms (2002), 3.1, with the unit roundoff 2^-24. Rounding lifts a norm to at most 1.001.
    """
    return 1.002 * dim * 2.0**-24 / (1 - dim * 2.0**-24)


def exact_cosines(
    a: NDArray[np.float32], b: NDArray[np.float32], index_a: Index, index_b: Index
) -> NDArray[np.float64]:
    """Dot products of pairs of rows, [K] float64, without any rounding.

    Products of two float16 values are exact in float32, and their sums in float64.
    """
    result = np.empty(len(index_a), np.float64)
    rows = max(1, TILE_ELEMENTS // max(1, a.shape[1]))
    for start in range(0, len(index_a), rows):
        part = slice(start, start + rows)
        np.sum(a[index_a[part]] * b[index_b[part]], axis=1, dtype=np.float64, out=result[part])
    return result


def mutual_matches(
    product: Callable[[slice], NDArray[Any]], margin: float, a: NDArray[np.float32], b: NDArray[np.float32]
) -> Matches:
    """The mutual nearest neighbours of two maps, best first; ties to the lowest index.

    Args:
        product: gives the approximate similarities [rows, M] of some rows of a to all of b, in any unit.
        margin: two similarities that differ by more, in that unit, are in their true order.
        a: [N, D] float32 tokens of float16 values; `b` likewise [M, D].
    """
    if not len(a) or not len(b):
        none = np.empty(0, np.intp)
        return Matches.best_first(none, none, np.empty(0, np.float32))
    rows = max(1, TILE_ELEMENTS // len(b))
    if rows >= len(a):
        index_a, index_b = _mutual_of_tile(product(slice(None)), margin, a, b)
    else:
        index_a, index_b = _mutual_of_tiles(product, rows, margin, a, b)
    # Rounding to float16 can lift a norm above 1.
    cosines = np.clip(exact_cosines(a, b, index_a, index_b), -1.0, 1.0)
    return Matches.best_first(index_a, index_b, cosines)


def _mutual_of_tile(
    similarity: NDArray[Any], margin: float, a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[Index, Index]:
    best_of_column = similarity.max(axis=0)
    column_limit = best_of_column - best_of_column.dtype.type(margin)
    near_row, near_column = _near(similarity, margin)
    # Only what may be nearest in its row and in its column can become a match; others are rivals at most.
    possible = similarity[near_row, near_column] >= column_limit[near_column]
    wanted_column = np.zeros(len(b), bool)
    wanted_column[near_column[possible]] = True
    wanted = np.flatnonzero(wanted_column)
    rival_column, rival_row = np.divmod(
        np.flatnonzero((similarity[:, wanted] >= column_limit[wanted]).T), len(similarity)
    )
    if max(len(near_row), len(rival_row)) > MANY_CANDIDATES * len(similarity):
        nearest_b, nearest_a = _nearest_exactly(a, b)
    else:
        wanted_row = np.zeros(len(a), bool)
        wanted_row[near_row[possible]] = True
        rival = wanted_row[near_row]
        nearest_b = _first_best(near_row[rival], near_column[rival], a, b)
        nearest_a = _first_best(wanted[rival_column], rival_row, b, a)
    index_a = np.flatnonzero(nearest_b >= 0)
    index_b = nearest_b[index_a]
    mutual = nearest_a[index_b] == index_a
    return index_a[mutual], index_b[mutual]


def _mutual_of_tiles(
    product: Callable[[slice], NDArray[Any]],
    rows: int,
    margin: float,
    a: NDArray[np.float32],
    b: NDArray[np.float32],
) -> tuple[Index, Index]:
    """The same for maps whose similarities would not fit the tile, some rows of a at a time."""
    nearest_b = np.empty(len(a), np.intp)
    nearest_a, best_of_b = np.zeros(len(b), np.intp), np.full(len(b), -np.inf)
    column = np.arange(len(b))
    for start in range(0, len(a), rows):
        part = slice(start, start + rows)
        tile = product(part)
        in_rows, in_columns = _near(tile, margin), _near(tile.T, margin)
        if max(len(in_rows[0]), len(in_columns[0])) > MANY_CANDIDATES * max(tile.shape):
            of_rows, of_columns = _nearest_exactly(a[part], b)
        else:
            of_rows, of_columns = _first_best(*in_rows, a[part], b), _first_best(*in_columns, b, a[part])
        nearest_b[part] = of_rows
        cosines = exact_cosines(a[part], b, of_columns, column)
        # Earlier rows keep what they tie for.
        better = cosines > best_of_b
        nearest_a[better], best_of_b[better] = of_columns[better] + start, cosines[better]
    index_a = np.flatnonzero(nearest_a[nearest_b] == np.arange(len(a)))
    return index_a, nearest_b[index_a]


def _near(similarity: NDArray[Any], margin: float) -> tuple[Index, Index]:
    """Rows (ascending) and columns of what is within the margin of the largest of its row."""
    best = similarity.max(axis=1)
    near = similarity >= (best - best.dtype.type(margin))[:, None]
    row, column = np.divmod(np.flatnonzero(near), similarity.shape[1])
    return row, column


def _first_best(of: Index, among: Index, left: NDArray[np.float32], right: NDArray[np.float32]) -> Index:
    """For each row of `left`, the nearest of the rows of `right` listed for it; -1 where none is listed.

    Args:
        of, among: rows of `left` (ascending), and what is listed for them (ascending within each).

    Returns:
        [len(left)]; of equally near ones the lowest.
    """
    nearest = np.full(len(left), -1, np.intp)
    nearest[of] = among
    contested = np.zeros(len(left), bool)
    contested[of[1:][of[1:] == of[:-1]]] = True
    listed = contested[of]
    if listed.any():
        of, among = of[listed], among[listed]
        order = np.lexsort((among, -exact_cosines(left, right, of, among), of))
        first = np.flatnonzero(np.diff(of, prepend=-1))
        nearest[of[first]] = among[order[first]]
    return nearest


def _nearest_exactly(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[Index, Index]:
    """The nearest of b for every row of a, and the reverse, from products in float64, which are exact."""
    similarity = a.astype(np.float64) @ b.astype(np.float64).T
    return similarity.argmax(axis=1), similarity.argmax(axis=0)
