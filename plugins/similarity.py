"""Filter `similarity`: rotation, one scale and shift, 4 parameters: straight down at two heights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, hookimpl, option
from plugins.robust import (
    RANSAC_AND_LMEDS,
    Matrix,
    Model,
    Points,
    RobustOptions,
    estimate,
    point_map_residuals_px,
)


@dataclass(frozen=True)
class SimilarityOptions(RobustOptions):
    """Options of `similarity`: OpenCV's partial affine supports two of the methods."""

    ransac_method: str = option("cv2_ransac", choices=RANSAC_AND_LMEDS, help="robust method of OpenCV")


def _search(a: Points, b: Points, method: int, threshold_px: float, options: RobustOptions) -> Any:
    import cv2

    return cv2.estimateAffinePartial2D(
        a,
        b,
        method=method,
        ransacReprojThreshold=threshold_px,
        maxIters=options.iters,
        confidence=options.confidence,
    )[0]


def _fit(a: Points, b: Points) -> Matrix:
    """Least squares in complex numbers: b = z a + t, where z turns and scales; exact for four real parameters."""
    complex_a, complex_b = a @ (1, 1j), b @ (1, 1j)
    mean_a, mean_b = complex_a.mean(), complex_b.mean()
    z = np.vdot(complex_a - mean_a, complex_b - mean_b) / np.vdot(complex_a - mean_a, complex_a - mean_a)
    shift = mean_b - z * mean_a
    return np.array([[z.real, -z.imag, shift.real], [z.imag, z.real, shift.imag]])


MODEL = Model(_search, _fit, point_map_residuals_px, min_matches=2, methods=RANSAC_AND_LMEDS, needs_plane=False)


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any) -> Estimate:
    """The similarity b = s R a + t of most matches; inliers lie within `reproj_th` pixels of the mapped point in b.

    Matches along one line are enough: two points apart determine the model.
    """
    return estimate(MODEL, points_a_px, points_b_px, options)


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """The filter of this module."""
    return [
        FilterRecord(
            name="similarity",
            help="rotation, one scale and shift (4 parameters)",
            options=SimilarityOptions,
            factory=lambda: verify,
            kind=ModelKind.POINT_MAP,
            min_matches=MODEL.min_matches,
            ransac_methods=RANSAC_AND_LMEDS,
        )
    ]
