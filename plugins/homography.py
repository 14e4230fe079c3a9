"""Filter `homography`: flat ground seen by two cameras, 8 parameters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, hookimpl
from plugins import poselib
from plugins.robust import (
    WITH_POSELIB,
    Model,
    Points,
    ProjectiveOptions,
    RobustOptions,
    estimate,
    is_sound_point_map,
    point_map_residuals_px,
)


def _search(a: Points, b: Points, method: int, threshold_px: float, options: RobustOptions) -> Any:
    import cv2

    return cv2.findHomography(a, b, method, threshold_px, maxIters=options.iters, confidence=options.confidence)[0]


def _fit(a: Points, b: Points) -> Any:
    import cv2

    return cv2.findHomography(a, b, 0)[0]


MODEL = Model(
    _search,
    _fit,
    point_map_residuals_px,
    min_matches=4,
    methods=WITH_POSELIB,
    search_poselib=poselib.find_homography,
    is_sound=is_sound_point_map,
)


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any) -> Estimate:
    """The homography b ~ H a of most matches; inliers lie within `reproj_th` pixels of the projected point in b."""
    return estimate(MODEL, points_a_px, points_b_px, options)


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """The filter of this module."""
    return [
        FilterRecord(
            name="homography",
            help="flat ground from any two viewpoints (8 parameters)",
            options=ProjectiveOptions,
            factory=lambda: verify,
            kind=ModelKind.POINT_MAP,
            min_matches=MODEL.min_matches,
            ransac_methods=WITH_POSELIB,
            require=poselib.require,
        )
    ]
