"""Filter `auto`: fits similarity, affine, homography and fundamental, and takes the one that fits the scene."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, hookimpl
from plugins import affine, fundamental, homography, poselib, similarity
from plugins.choice import Score, score_epipolar, score_point_map
from plugins.robust import RANSAC_AND_LMEDS, WITH_POSELIB, Points, ProjectiveOptions, estimate

MAPS = (("similarity", similarity.MODEL, 4), ("affine", affine.MODEL, 6), ("homography", homography.MODEL, 8))
"""Point maps with the numbers that determine them, simplest first."""
Scored = tuple[Score, Estimate]


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any) -> Estimate:
    """The model that describes the matches best, see `plugins.choice`; the simpler one of equals."""
    a, b = (np.ascontiguousarray(points, np.float64) for points in (points_a_px, points_b_px))
    found: list[Scored] = []
    plane: tuple[Score, Estimate, int] | None = None
    for name, model, parameters in MAPS:
        result = estimate(model, a, b, _supported(options, model.methods))
        if result.matrix is None:
            continue
        score = score_point_map(result.matrix, a, b, parameters, options.reproj_th)
        found.append((score, replace(result, kind=ModelKind.POINT_MAP, model=name)))
        if plane is None or score.description > plane[0].description:
            plane = score, result, parameters
    if plane is not None and plane[1].matrix is not None:
        found += _relief(a, b, plane[1].matrix, plane[2], options)
    if not found:
        return Estimate(None, np.zeros(len(a), bool))
    # The first of equals is the simplest.
    return max(found, key=lambda entry: entry[0].description)[1]


def _relief(a: Points, b: Points, plane: NDArray[np.float64], parameters: int, options: Any) -> list[Scored]:
    result = estimate(fundamental.MODEL, a, b, _supported(options, fundamental.MODEL.methods))
    if result.matrix is None:
        return []
    score = score_epipolar(result.matrix, plane, a, b, options.reproj_th, parameters)
    return [(score, replace(result, kind=ModelKind.EPIPOLAR, model="fundamental"))]


def _supported(options: Any, methods: tuple[str, ...]) -> Any:
    """The options, with the nearest method that a model supports: OpenCV fits similarities with two only."""
    if options.ransac_method in methods:
        return options
    return replace(options, ransac_method="cv2_usac_magsac" if "cv2_usac_magsac" in methods else RANSAC_AND_LMEDS[0])


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """The filter of this module."""
    return [
        FilterRecord(
            name="auto",
            help="the one of similarity, affine, homography and fundamental that fits the scene",
            options=ProjectiveOptions,
            factory=lambda: verify,
            kind=ModelKind.POINT_MAP,
            min_matches=similarity.MODEL.min_matches,
            ransac_methods=WITH_POSELIB,
            require=poselib.require,
        )
    ]
