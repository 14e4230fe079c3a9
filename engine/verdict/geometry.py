"""The overlap of two photographs under a point map, and what makes a point map impossible. Pixels of any one frame."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]

_PROBES = 12
_UNIT = (np.stack(np.meshgrid(np.arange(_PROBES), np.arange(_PROBES)), axis=2).reshape(-1, 2) + 0.5) / _PROBES
_CELLS = 6
"""The box around the overlap is divided into so many cells a side: below the number of patches in a small overlap."""
_CELL_CENTRES = (np.stack(np.divmod(np.arange(_CELLS**2), _CELLS), axis=1) + 0.5) / _CELLS
LARGEST_RATIO = 10.0
"""Of the sides of what both photographs show, and the inverse of the smallest."""
LARGEST_ASPECT = 6.0
"""Of how a small circle comes out: 6 is ground seen at 80 degrees off the vertical."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Where photograph a shows what b shows.

    Attributes:
        matrix: [3, 3] from a to b, its sign such that points in front of the camera have a positive third coordinate.
        size_b: [2] width and height.
        low, high: [2] corners of the box in a around the overlap.
        share_a, share_b: overlap as a share of each photograph, 0 to 1.
    """

    matrix: Matrix
    size_b: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    share_a: float
    share_b: float

    def inside(self, points_a: Points) -> NDArray[np.bool_]:
        """[N] bool: whether points of a are sent into b."""
        return _sent_inside(self.matrix, points_a, self.size_b)

    def count_inside(self, points_a: Points) -> int:
        return int(np.count_nonzero(self.inside(points_a)))


def overlap_of(matrix: Matrix, size_a: NDArray[np.float64], size_b: NDArray[np.float64], middle: Points) -> Overlap:
    """The overlap under a point map, known to a twelfth of a photograph's side.

    Args:
        matrix: [3, 3] from a to b.
        size_a, size_b: [2] width and height.
        middle: [2] a point of a that both show, as the inliers' centre.
    """
    forward = matrix * np.sign(matrix[2] @ (*middle, 1.0) or 1.0)
    probes = _probes(size_a)
    inside = _sent_inside(forward, probes, size_b)
    backward = _inverse(forward)
    seen = forward @ (*middle, 1.0)
    backward = backward * np.sign(backward[2] @ seen or 1.0)
    share_b = float(_sent_inside(backward, _probes(size_b), size_a).mean())
    half = size_a / _PROBES / 2
    if inside.any():
        low, high = probes[inside].min(axis=0) - half, probes[inside].max(axis=0) + half
    else:
        low, high = middle - half, middle + half
    return Overlap(forward, size_b, low, high, float(inside.mean()), share_b)


def covered_share(inliers_a: Points, size_a: NDArray[np.float64], overlap: Overlap | None) -> float:
    """Share of the overlap's cells that hold an inlier; of all of photograph a where no overlap is known."""
    low, high = (overlap.low, overlap.high) if overlap else (np.full(2, -0.5), size_a - 0.5)
    cell = np.floor((inliers_a - low) / (high - low) * _CELLS).astype(np.int64).clip(0, _CELLS - 1)
    held = np.zeros(_CELLS**2, bool)
    held[cell[:, 0] * _CELLS + cell[:, 1]] = True
    asked = np.ones(_CELLS**2, bool)
    if overlap is not None:
        centres = low + _CELL_CENTRES * (high - low)
        asked = overlap.inside(centres) | held
    return float(np.count_nonzero(held) / np.count_nonzero(asked))


def is_mirrored(matrix: Matrix, middle: Points) -> bool:
    """Whether the map shows the ground from below, near a point of a."""
    return bool(np.linalg.det(matrix) * (matrix[2] @ (*middle, 1.0)) < 0)


def is_collapsed(matrix: Matrix, middle: Points, size_a: NDArray[np.float64], size_b: NDArray[np.float64]) -> bool:
    """Whether the map, near a point of a, shrinks or stretches beyond what two photographs of one place can show."""
    x, y, w = (float(value) for value in matrix @ (*middle, 1.0))
    if w == 0:
        return True
    (a, b, _), (c, d, _), (e, f, _) = matrix.tolist()
    # The derivative there times w; its singular values from their product and the sum of their squares.
    a, b, c, d = a - x / w * e, b - x / w * f, c - y / w * e, d - y / w * f
    product, squares = abs(a * d - b * c), a * a + b * b + c * c + d * d
    if not squares * LARGEST_ASPECT < product * (LARGEST_ASPECT**2 + 1):
        return True
    side = math.sqrt(product / w**2 * float(size_a.prod() / size_b.prod()))
    return not 1 / LARGEST_RATIO < side < LARGEST_RATIO


def _probes(size: NDArray[np.float64]) -> Points:
    return _UNIT * size - 0.5


def _sent_inside(matrix: Matrix, points: Points, size: NDArray[np.float64]) -> NDArray[np.bool_]:
    x, y, w = matrix[:, :2] @ points.T + matrix[:, 2:]
    right, bottom = (size - 0.5).tolist()
    return np.asarray((w > 0) & (x >= -0.5 * w) & (y >= -0.5 * w) & (x <= right * w) & (y <= bottom * w))


def _inverse(matrix: Matrix) -> Matrix:
    """The adjugate: the inverse up to scale, also where the matrix is singular."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    return np.array(
        [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]
    )
