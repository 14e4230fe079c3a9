"""Which of several models fits matches best: shared by the filters, not a plugin itself.

The criterion is Bayesian: the model is taken whose description of all matches, wrong ones included, is likeliest, less
half a logarithm of the matches for each number that had to be estimated (G. Schwarz, "Estimating the dimension of a
model", Annals of Statistics 6(2), 1978; for manifolds of different dimension, P. Torr, "Bayesian model estimation and
selection for epipolar geometry and generic manifold fitting", IJCV 50(1), 2002). A match is right with probability g,
and then lies about where the model says, or wrong, and then lies anywhere in b. About where: under a point map a normal
distribution around the mapped point; under an epipolar geometry a normal distribution across the epipolar line and a
wider one along it, around where the dominant plane would put the point, as relief moves it. So an epipolar geometry
pays for each match that the plane explains as well, and is taken only where relief moves enough of them. (Torr's GRIC
charges wrong matches less under an epipolar geometry, and takes it for flat ground once many matches are wrong.)

Widths and g are estimated for each model by expectation maximisation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugins.robust import Matrix, Points

_ROUNDS = 12
_SMALLEST_PX = 0.05
"""Widths stay above what coordinates are good to."""
_LARGEST_RELIEF = 0.25
"""Widest spread along epipolar lines, as a share of b's extent: beyond, a match could lie anywhere."""


@dataclass(frozen=True)
class Score:
    """How well a model describes the matches.

    Attributes:
        description: natural logarithm of the likelihood less the price of the model's numbers; larger is better.
        right: expected number of right matches.
    """

    description: float
    right: float


def score_point_map(matrix: Matrix, a: Points, b: Points, parameters: int, threshold_px: float) -> Score:
    """Scores a point map [3, 3] on matches [M, 2].

    Args:
        parameters: numbers that determine the model.
        threshold_px: largest error of an inlier; errors are not taken to be wider spread than that.
    """
    offset = _offset(matrix, a, b)
    # The width is one number more.
    return _score([offset[:, 0], offset[:, 1]], [(0, 1)], b, parameters + 1, [threshold_px])


def score_epipolar(
    matrix: Matrix, plane: Matrix, a: Points, b: Points, threshold_px: float, plane_parameters: int
) -> Score:
    """Scores a fundamental matrix with the point map of the dominant plane, both [3, 3], on matches [M, 2]."""
    lines = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    normal = lines[:, :2] / np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-300)[:, None]
    across = np.sum(np.column_stack([b, np.ones(len(b))]) * lines, axis=1) / np.maximum(
        np.hypot(lines[:, 0], lines[:, 1]), 1e-300
    )
    offset = _offset(plane, a, b)
    along = offset[:, 1] * normal[:, 0] - offset[:, 0] * normal[:, 1]
    widest = _LARGEST_RELIEF * float(np.ptp(b, axis=0).max())
    # Beside the seven numbers of the geometry, those of the plane and two widths.
    return _score([across, along], [(0,), (1,)], b, 7 + plane_parameters + 2, [threshold_px, widest])


def _offset(matrix: Matrix, a: Points, b: Points) -> Points:
    mapped = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    depth = mapped[:, 2]
    sign = 1.0 if 2 * np.count_nonzero(depth > 0) >= len(depth) else -1.0
    offset = np.full((len(a), 2), 1e9)
    front = sign * depth > 0
    offset[front] = b[front] - mapped[front, :2] / depth[front, None]
    return offset


def _score(
    errors: list[NDArray[np.float64]],
    groups: list[tuple[int, ...]],
    b: Points,
    parameters: int,
    widest: list[float],
) -> Score:
    """Fits g and the widths, one for each group of error components, and prices the whole."""
    count = len(b)
    outside = -np.log(max(1.0, float(np.prod(np.ptp(b, axis=0)))))
    widths, right = [limit / 2 for limit in widest], 0.5
    squares = [sum(np.square(np.minimum(np.abs(errors[i]), 1e9)) for i in group) for group in groups]
    likelihood = -np.inf
    for _ in range(_ROUNDS):
        inside = np.zeros(count)
        for square, group, width in zip(squares, groups, widths, strict=True):
            inside = inside - square / (2 * width**2) - len(group) * np.log(width * np.sqrt(2 * np.pi))
        good, bad = np.log(right) + inside, np.log1p(-right) + outside
        both = np.logaddexp(good, bad)
        likelihood = float(both.sum())
        weight = np.exp(good - both)
        total = max(float(weight.sum()), 1e-9)
        widths = [
            float(np.clip(np.sqrt((weight * square).sum() / (total * len(group))), _SMALLEST_PX, limit))
            for square, group, limit in zip(squares, groups, widest, strict=True)
        ]
        right = float(np.clip(total / count, 1e-3, 1 - 1e-3))
    return Score(likelihood - 0.5 * (parameters + 1) * np.log(max(2.0, total)), total)
