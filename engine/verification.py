"""Geometric verification: a filter's estimate on a pair's matches, in original pixels.

Robust thresholds are meant in pixels of the encoded image (half a patch is 8), so points are taken there, the filter
runs, and the model is brought back: `M = T_b^-1 M' T_a` for a point map, `F = T_b^T F' T_a` for an epipolar one, where
T maps original to encoded pixels.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix
from engine.hooks import FilterRecord, ModelKind
from engine.plugin_calls import call_filter
from engine.plugin_options import options_as_dict
from engine.results import Verification

ENCODED, ORIGINAL = "encoded", "original"
REPROJ_UNITS = (ENCODED, ORIGINAL)


def verify_matches(
    record: FilterRecord,
    options: Any,
    points_a_px: NDArray[np.float64],
    points_b_px: NDArray[np.float64],
    size_a: tuple[int, int],
    encoded_a: tuple[int, int],
    size_b: tuple[int, int],
    encoded_b: tuple[int, int],
    unit: str = ENCODED,
) -> Verification:
    """Runs a filter on matched points, best match first.

    Args:
        record: the filter.
        options: an instance of `record.options`.
        points_a_px: [M, 2] (x, y) in original pixels of a; `points_b_px` likewise.
        size_a: (width, height) of the stored file; `encoded_a` of what the graph was given.
        unit: frame of the filter's threshold, `encoded` or `original` pixels.

    Raises:
        PluginError: the filter failed, or gave something else than an estimate on these matches.
    """
    count = len(points_a_px)
    matrix: NDArray[np.float64] | None = None
    inliers = np.zeros(count, bool)
    kind, model = record.kind, None
    if record.kind is ModelKind.NONE or count >= record.min_matches:
        to_a = rescale_matrix(size_a, encoded_a if unit == ENCODED else size_a)
        to_b = rescale_matrix(size_b, encoded_b if unit == ENCODED else size_b)
        estimate = call_filter(record, project(to_a, points_a_px), project(to_b, points_b_px), options)
        inliers = np.asarray(estimate.inliers, bool)
        if estimate.matrix is not None:
            kind, model = estimate.kind or record.kind, estimate.model
            matrix = _to_original(estimate.matrix, to_a, to_b, kind)
    return Verification(record.name, kind, options_as_dict(options), unit, matrix, inliers, model)


def _to_original(
    matrix: NDArray[np.float64], to_a: NDArray[np.float64], to_b: NDArray[np.float64], kind: ModelKind
) -> NDArray[np.float64]:
    if kind is ModelKind.EPIPOLAR:
        original = to_b.T @ matrix @ to_a
        return np.asarray(original / np.linalg.norm(original))
    original = np.linalg.inv(to_b) @ matrix @ to_a
    scale = original[2, 2]
    return np.asarray(original / scale if scale else original)


def with_matrix(
    found: Verification,
    matrix: NDArray[np.float64],
    points_a_px: NDArray[np.float64],
    points_b_px: NDArray[np.float64],
    size_b: tuple[int, int],
    encoded_b: tuple[int, int],
) -> Verification:
    """The verification with a better point map [3, 3]: its inliers are counted anew under the same threshold.

    A filter without the option `reproj_th` keeps its inliers. Where the filter chose a model, it is named anew.
    """
    better = replace(found, matrix=matrix, model=found.model and model_name(matrix, points_a_px))
    threshold = found.options.get("reproj_th")
    if threshold is None:
        return better
    to_b = rescale_matrix(size_b, encoded_b if found.reproj_unit == ENCODED else size_b)
    error = np.linalg.norm(project(to_b, project(matrix, points_a_px)) - project(to_b, points_b_px), axis=1)
    return replace(better, inliers=error <= threshold)


def model_name(matrix: NDArray[np.float64], points_a_px: NDArray[np.float64]) -> str:
    """The simplest of `similarity`, `affine` and `homography` that a point map [3, 3] is.

    It is the simpler one where that sends all points [M, 2] to within a hundredth of a pixel of b.
    """
    x, y, w = matrix @ np.append(points_a_px.mean(axis=0), 1.0)
    affine = (matrix[:2, :2] * w - np.outer((x, y), matrix[2, :2])) / w**2
    (a, b), (c, d) = affine
    similar = np.array([[a + d, b - c], [c - b, a + d]]) / 2
    offsets = points_a_px - points_a_px.mean(axis=0)
    exact = project(matrix, points_a_px) - np.array([x, y]) / w
    for name, linear in (("similarity", similar), ("affine", affine)):
        if np.abs(offsets @ linear.T - exact).max() < 0.01:
            return name
    return "homography"


def residuals_px(
    verification: Verification, points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Distance of each match from the model, [M] float64, in original pixels of b; None where there is no model.

    For a point map the distance to the projected point, for an epipolar model the distance to the epipolar line.
    """
    if verification.matrix is None:
        return None
    if verification.kind is ModelKind.EPIPOLAR:
        lines = np.column_stack([points_a_px, np.ones(len(points_a_px))]) @ verification.matrix.T
        offset = np.sum(np.column_stack([points_b_px, np.ones(len(points_b_px))]) * lines, axis=1)
        return np.asarray(np.abs(offset) / np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-300))
    return np.asarray(np.linalg.norm(project(verification.matrix, points_a_px) - points_b_px, axis=1))
