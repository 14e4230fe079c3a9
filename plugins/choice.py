"""Which of several models fits matches best: shared by the filters, not a plugin itself.

The criterion is Bayesian: the model is taken whose description of all matches, wrong ones included, is likeliest, less
half a logarithm of the matches for each number that had to be estimated (G. Schwarz, "Estimating the dimension of a
model", Annals of Statistics 6(2), 1978; for manifolds of different dimension, P. Torr, "Bayesian model estimation and
selection for epipolar geometry and generic manifold fitting", IJCV 50(1), 2002). A match is right, and then lies
about where the model says; or it missed, and lies near there, as patches are easily taken for their neighbours; or it
is wrong, and lies anywhere in b. About where: under a point map a normal distribution around the mapped point; under an
epipolar geometry a normal distribution across the epipolar line and a wider one along it, around where the dominant
plane would put the point, as relief moves it. Near there: under both a wide normal distribution around where the plane
puts the point. So an epipolar geometry pays for each match that the plane explains as well, and is taken only where
enough of them are moved along the lines, and not across. (Torr's GRIC charges wrong matches less under an epipolar
geometry, and takes it for flat ground once many matches are wrong.)

Widths and shares are estimated for each model by expectation maximisation. No width is taken to be smaller than the
positions are good to: those on a grid, as centres of patches are, are rounded by up to half its step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugins.robust import Matrix, Points

_ROUNDS = 20
_SMALLEST_PX = 0.05
"""Widths stay above what coordinates are good to."""
_LARGEST_RELIEF = 0.25
"""Widest spread along epipolar lines, as a share of b's extent: beyond, a match could lie anywhere."""
_FAR_PX = 1e9
_SAMPLED = 1000
_FEWEST_ON_GRID = 8


@dataclass(frozen=True)
class Score:
    """How well a model describes the matches.

    Attributes:
        description: natural logarithm of the likelihood less the price of the model's numbers; larger is better.
        right: expected number of right matches.
    """

    description: float
    right: float


@dataclass(frozen=True)
class _Normal:
    """A normal distribution of some components of the errors, of one width to be estimated.

    Attributes:
        square: [M] sum of the components' squares.
        components: how many.
        smallest, widest: limits of the width.
    """

    square: NDArray[np.float64]
    components: int
    smallest: float
    widest: float

    def width(self, weight: NDArray[np.float64]) -> float:
        """The likeliest width for matches [M] of these weights."""
        mean = (weight * self.square).sum() / (max(float(weight.sum()), 1e-9) * self.components)
        return float(np.clip(np.sqrt(mean), self.smallest, self.widest))

    def log_density(self, width: float) -> NDArray[np.float64]:
        return np.asarray(-self.square / (2 * width**2) - self.components * np.log(width * np.sqrt(2 * np.pi)))


def score_point_map(matrix: Matrix, a: Points, b: Points, parameters: int, threshold_px: float) -> Score:
    """Scores a point map [3, 3] on matches [M, 2].

    Args:
        parameters: numbers that determine the model.
        threshold_px: largest error of an inlier; errors are not taken to be wider spread than that.
    """
    square = np.square(_offset(matrix, a, b)).sum(axis=1)
    least = rounding_px(a, b)
    right = [_Normal(square, 2, min(least, threshold_px), threshold_px)]
    # Widths of right and missed ones are two numbers more.
    return _score(right, _missed(square, b, threshold_px), b, parameters + 2)


def score_epipolar(
    matrix: Matrix, plane: Matrix, a: Points, b: Points, threshold_px: float, plane_parameters: int
) -> Score:
    """Scores a fundamental matrix with the point map of the dominant plane, both [3, 3], on matches [M, 2]."""
    lines = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    slope = np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-300)
    normal = lines[:, :2] / slope[:, None]
    across = np.sum(np.column_stack([b, np.ones(len(b))]) * lines, axis=1) / slope
    offset = _offset(plane, a, b)
    along = offset[:, 1] * normal[:, 0] - offset[:, 0] * normal[:, 1]
    least = min(rounding_px(a, b), threshold_px)
    right = [
        _Normal(np.square(np.minimum(np.abs(across), _FAR_PX)), 1, least, threshold_px),
        _Normal(np.square(along), 1, least, max(least, _widest_px(b))),
    ]
    # Beside the seven numbers of the geometry, those of the plane and three widths.
    return _score(right, _missed(np.square(offset).sum(axis=1), b, threshold_px), b, 7 + plane_parameters + 3)


def rounding_px(a: Points, b: Points) -> float:
    """Standard deviation along an axis of what rounding moves matches of two pictures apart, in pixels of b.

    Positions on a grid are rounded by up to half its step, evenly. Where only those of one picture lie on a grid, they
    were chosen there, and what they match was placed exactly.
    """
    steps = [_grid_step_px(points) for points in (a, b)]
    if not all(steps):
        return _SMALLEST_PX
    growth = float(np.prod(np.ptp(b, axis=0)) / max(float(np.prod(np.ptp(a, axis=0))), 1e-9))
    return float(max(_SMALLEST_PX, np.sqrt((steps[0] ** 2 * growth + steps[1] ** 2) / 12)))


def _grid_step_px(points: Points) -> float:
    """Step of the square grid, turned in any way, that points [M, 2] lie on; 0 where they do not lie on one.

    Of points on a grid, many have a neighbour exactly a step away and none has a nearer one.
    """
    places = np.unique(np.round(points[:_SAMPLED], 3), axis=0)
    if len(places) < _FEWEST_ON_GRID:
        return 0.0
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    np.fill_diagonal(distance, np.inf)
    nearest = distance.min(axis=1)
    step = float(nearest.min())
    return step if np.quantile(nearest, 0.25) < 1.001 * step else 0.0


def _missed(square: NDArray[np.float64], b: Points, threshold_px: float) -> _Normal:
    return _Normal(square, 2, threshold_px, max(threshold_px, _widest_px(b)))


def _widest_px(b: Points) -> float:
    return _LARGEST_RELIEF * float(np.ptp(b, axis=0).max())


def _offset(matrix: Matrix, a: Points, b: Points) -> Points:
    mapped = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    depth = mapped[:, 2]
    sign = 1.0 if 2 * np.count_nonzero(depth > 0) >= len(depth) else -1.0
    offset = np.full((len(a), 2), _FAR_PX)
    front = sign * depth > 0
    offset[front] = np.clip(b[front] - mapped[front, :2] / depth[front, None], -_FAR_PX, _FAR_PX)
    return offset


def _score(right: list[_Normal], missed: _Normal, b: Points, parameters: int) -> Score:
    """Fits shares and widths, and prices the whole."""
    count = len(b)
    anywhere = np.full(count, -np.log(max(1.0, float(np.prod(np.ptp(b, axis=0))))))
    widths, wide = [entry.widest / 2 for entry in right], missed.widest / 2
    shares = np.array([0.4, 0.2, 0.4])
    likelihood, total = -np.inf, 0.0
    for _ in range(_ROUNDS):
        inside = np.sum([entry.log_density(width) for entry, width in zip(right, widths, strict=True)], axis=0)
        parts = np.log(shares)[:, None] + np.stack([inside, missed.log_density(wide), anywhere])
        both = np.logaddexp.reduce(parts, axis=0)
        likelihood = float(both.sum())
        weight = np.exp(parts - both)
        total = max(float(weight[0].sum()), 1e-9)
        widths, wide = [entry.width(weight[0]) for entry in right], missed.width(weight[1])
        shares = np.clip(weight.sum(axis=1) / count, 1e-3, 1.0)
        shares = shares / shares.sum()
    return Score(likelihood - 0.5 * (parameters + 2) * np.log(max(2.0, total)), total)
