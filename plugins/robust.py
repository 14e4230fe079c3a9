"""Robust estimation with OpenCV: shared by the filters, not a plugin itself.

OpenCV searches a model among wrong matches; then the model is fitted again to its inliers while that gains any, which
evens out most of what the methods differ in. The mask is always computed here, from the final matrix and `reproj_th`.
OpenCV is imported inside functions, so that listing the plugins stays quick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, UsageError, WorkError, option
from plugins import poselib

Points = NDArray[np.float64]
Matrix = NDArray[np.float64]

RANSAC_AND_LMEDS = ("cv2_ransac", "cv2_lmeds")
ALL_METHODS = (
    "cv2_ransac",
    "cv2_lmeds",
    "cv2_usac_default",
    "cv2_usac_accurate",
    "cv2_usac_fast",
    "cv2_usac_prosac",
    "cv2_usac_magsac",
)
"""`cv2_x_y` is OpenCV's constant `X_Y`. LMEDS needs more than half of the matches right and looks at no threshold."""

WITH_POSELIB = (*ALL_METHODS, poselib.METHOD)
"""`poselib_ransac` is PoseLib's, for homographies and fundamental matrices; it needs the extra `poselib`."""

REFIT_ROUNDS = 10
SMALLEST_ASPECT = 0.01
"""A map that squeezes the ground beyond 100 : 1 is no view of it but a collapse onto a line."""


@dataclass(frozen=True)
class RobustOptions:
    """Options of the filters that support every method."""

    ransac_method: str = option("cv2_usac_magsac", choices=ALL_METHODS, help="robust method of OpenCV")
    reproj_th: float = option(
        8.0, minimum=0.01, maximum=10_000.0, help="largest error of an inlier, pixels of the encoded image by default"
    )
    confidence: float = option(0.9999, minimum=0.01, maximum=0.999999, help="probability that the model is found")
    iters: int = option(10_000, minimum=1, maximum=10_000_000, help="largest number of samples tried")


@dataclass(frozen=True)
class ProjectiveOptions(RobustOptions):
    """Options of the filters that PoseLib has an estimator for."""

    ransac_method: str = option(
        "cv2_usac_magsac", choices=WITH_POSELIB, help="robust method of OpenCV, or of PoseLib where that is installed"
    )


@dataclass(frozen=True)
class Model:
    """What a filter knows of its model.

    Attributes:
        search: (a, b, method, threshold_px, options) to OpenCV's matrix, [2, 3] or [3, 3], or None.
        fit: least-squares fit to matches that are all right: (a, b) to [3, 3], or None.
        residuals_px: (matrix, a, b) to the error of each match, [M] pixels.
        min_matches: matches that determine the model.
        methods: names of the robust methods supported.
        search_poselib: (a, b, threshold_px, options) to PoseLib's matrix; None where it has no estimator.
        is_sound: whether a matrix can be a view of the ground, seen from the points of its inliers in a.
        needs_plane: whether matches along a single line leave the model undetermined.
        magsac_noise: what MAGSAC is given, in thresholds. It takes the largest noise that an inlier may have and weighs
            all smaller ones, where the other methods take a limit. Given `reproj_th` itself it finds far fewer of the
            matches behind positions rounded to tokens of 16 px than the other methods do at a threshold of 8 px;
            given twice that, nearly as many (measured on made-up maps with 10 to 40 % right, and on aerial pairs).
    """

    search: Callable[[Points, Points, int, float, Any], Any]
    fit: Callable[[Points, Points], Any]
    residuals_px: Callable[[Matrix, Points, Points], NDArray[np.float64]]
    min_matches: int
    methods: tuple[str, ...] = ALL_METHODS
    search_poselib: Callable[[Points, Points, float, Any], Any] | None = None
    is_sound: Callable[[Matrix, Points], bool] = lambda matrix, points_a: True
    needs_plane: bool = True
    magsac_noise: float = 2.0


def estimate(model: Model, points_a_px: Points, points_b_px: Points, options: Any) -> Estimate:
    """Finds a model and its inliers; without a matrix and inliers where the matches do not determine one.

    Args:
        model: the kind of model.
        points_a_px: [M, 2] matched points (x, y), best match first; `points_b_px` likewise.
        options: `RobustOptions` or a likeness; `reproj_th` in pixels of the points.

    Raises:
        UsageError: the model does not support `ransac_method`, or PoseLib is asked for and not installed.
        WorkError: OpenCV failed.
    """
    import cv2

    if options.ransac_method not in model.methods:
        raise UsageError(f"'{options.ransac_method}' is not supported here: choose one of {', '.join(model.methods)}")
    a, b = (np.ascontiguousarray(points, np.float64) for points in (points_a_px, points_b_px))
    nothing = Estimate(None, np.zeros(len(a), bool))
    if not _determine(model, a, b):
        return nothing
    try:
        found = _as_3x3(_searched(model, a, b, options))
        if found is None:
            return nothing
        matrix, inliers = _refit(model, found, a, b, options.reproj_th)
    except cv2.error as error:
        raise WorkError(
            f"OpenCV {cv2.__version__} failed on {len(a)} matches ({options.ransac_method}): {error}"
        ) from error
    if not _determine(model, a[inliers], b[inliers]) or not model.is_sound(matrix, a[inliers]):
        return nothing
    return Estimate(matrix, inliers)


def _searched(model: Model, a: Points, b: Points, options: Any) -> Any:
    import cv2

    if options.ransac_method == poselib.METHOD and model.search_poselib is not None:
        return model.search_poselib(a, b, options.reproj_th, options)
    method = getattr(cv2, options.ransac_method.removeprefix("cv2_").upper())
    bound = model.magsac_noise if method == cv2.USAC_MAGSAC else 1.0
    return model.search(a, b, method, bound * options.reproj_th, options)


def point_map_residuals_px(matrix: Matrix, a: Points, b: Points) -> NDArray[np.float64]:
    """Distance in b between each match and its projected point; infinite beyond the horizon of the map."""
    projected = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    depth = projected[:, 2]
    front = depth > 0 if 2 * np.count_nonzero(depth > 0) >= len(depth) else depth < 0
    distance = np.full(len(a), np.inf)
    distance[front] = np.linalg.norm(projected[front, :2] / depth[front, None] - b[front], axis=1)
    return distance


def is_sound_point_map(matrix: Matrix, points_a: Points) -> bool:
    """Whether the map keeps areas apart at the centre of the points: its derivative there is far from singular."""
    x, y, w = matrix @ np.append(points_a.mean(axis=0), 1.0)
    derivative = (matrix[:2, :2] * w - np.outer((x, y), matrix[2, :2])) / w**2
    largest, smallest = np.linalg.svd(derivative, compute_uv=False)
    return bool(smallest > SMALLEST_ASPECT * largest)


def _determine(model: Model, a: Points, b: Points) -> bool:
    if len(a) < model.min_matches:
        return False
    for points in (a, b):
        wide, narrow = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        # Far above rounding (1e-16 of the coordinates), far below a pixel.
        smallest = 1e-9 * max(1.0, float(np.abs(points).max()))
        if (narrow if model.needs_plane else wide) <= smallest:
            return False
    return True


def _as_3x3(matrix: Any) -> Matrix | None:
    if matrix is None or matrix.shape not in ((2, 3), (3, 3)) or not np.isfinite(matrix).all() or not matrix.any():
        return None
    full = matrix if matrix.shape == (3, 3) else np.vstack([matrix, (0.0, 0.0, 1.0)])
    return np.asarray(full, np.float64)


def _refit(model: Model, matrix: Matrix, a: Points, b: Points, threshold_px: float) -> tuple[Matrix, NDArray[np.bool_]]:
    """Fits to the inliers while that gains inliers, or keeps as many at a smaller error."""
    residuals = model.residuals_px(matrix, a, b)
    for _ in range(REFIT_ROUNDS):
        inliers = residuals <= threshold_px
        if not _determine(model, a[inliers], b[inliers]):
            break
        fitted = _as_3x3(model.fit(a[inliers], b[inliers]))
        if fitted is None:
            break
        refitted = model.residuals_px(fitted, a, b)
        if _score(refitted, threshold_px) <= _score(residuals, threshold_px):
            break
        matrix, residuals = fitted, refitted
    return matrix, residuals <= threshold_px


def _score(residuals: NDArray[np.float64], threshold_px: float) -> tuple[int, float]:
    inside = residuals[residuals <= threshold_px]
    return len(inside), -float(np.square(inside).sum())
