"""The temperature of the soft arg-max, from the pictures themselves: how fast similarity falls from token to token.

Backbones differ in that by a factor of five or more, so no fixed number would do.
"""

import numpy as np
from numpy.typing import NDArray

SHARE = 0.3
"""A neighbour in the same picture, a token away, has a weight of exp(-1 / SHARE) at the median."""
_LEAST = 1e-4


def grid_temperature(grid: NDArray[np.float32]) -> float:
    """The temperature of tokens [rows, cols, D], L2-normalised: a share of the median fall of the cosine next door."""
    falls = [
        1.0 - np.einsum("rcd,rcd->rc", grid[:, 1:], grid[:, :-1]).ravel(),
        1.0 - np.einsum("rcd,rcd->rc", grid[1:], grid[:-1]).ravel(),
    ]
    return _share_of(np.concatenate(falls))


def _share_of(falls: NDArray[np.floating]) -> float:
    return max(_LEAST, SHARE * float(np.median(falls))) if len(falls) else 1.0


def list_temperature(
    descriptors: NDArray[np.floating], rows_of_token: NDArray[np.intp], grid: tuple[int, int]
) -> float:
    """The temperature of a selection of tokens.

    Args:
        descriptors: [N, D], L2-normalised.
        rows_of_token: [rows * cols] row of each token of the grid in `descriptors`, -1 where it was left out.
        grid: (rows, cols).
    """
    table = rows_of_token.reshape(grid)
    falls = []
    for first, second in ((table[:, 1:], table[:, :-1]), (table[1:], table[:-1])):
        both = (first >= 0) & (second >= 0)
        one, other = descriptors[first[both]], descriptors[second[both]]
        falls.append(1.0 - np.einsum("nd,nd->n", one.astype(np.float32), other.astype(np.float32)))
    return _share_of(np.concatenate(falls))
