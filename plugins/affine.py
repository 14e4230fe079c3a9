"""Filter `affine`: flat ground seen from afar, 6 parameters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, hookimpl
from plugins.robust import (
    ALL_METHODS,
    Matrix,
    Model,
    Points,
    RobustOptions,
    estimate,
    is_sound_point_map,
    point_map_residuals_px,
)


def _search(a: Points, b: Points, method: int, threshold_px: float, options: RobustOptions) -> Any:
    import cv2

    return cv2.estimateAffine2D(
        a,
        b,
        method=method,
        ransacReprojThreshold=threshold_px,
        maxIters=options.iters,
        confidence=options.confidence,
    )[0]


def _fit(a: Points, b: Points) -> Matrix:
    transposed = np.linalg.lstsq(np.column_stack([a, np.ones(len(a))]), b, rcond=None)[0]
    return np.asarray(transposed.T)


MODEL = Model(_search, _fit, point_map_residuals_px, min_matches=3, is_sound=is_sound_point_map)


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any) -> Estimate:
    """The affine map b = A a of most matches; inliers lie within `reproj_th` pixels of the mapped point in b."""
    return estimate(MODEL, points_a_px, points_b_px, options)


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """The filter of this module."""
    return [
        FilterRecord(
            name="affine",
            help="flat ground from afar: rotation, scales, shear and shift (6 parameters)",
            options=RobustOptions,
            factory=lambda: verify,
            kind=ModelKind.POINT_MAP,
            min_matches=MODEL.min_matches,
            ransac_methods=ALL_METHODS,
        )
    ]
