"""What is measured about a pair, and what many pairs amount to.

Errors of a geometry are mean distances in percent of b's diagonal. A pair without a model counts as a failure at every
limit, and as infinitely far off in a median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project

SUCCESS_LIMITS_PCT = (0.5, 1.0, 3.0, 5.0)
"""A pair succeeds at a limit when its error is at most that, in percent of b's diagonal."""
AREA_LIMITS_PCT = (1.0, 3.0, 5.0)
PATCH_LIMITS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class MatchErrors:
    """How far the matches of a pair are from the truth.

    Attributes:
        within: share of matches (0 to 1) within each of `PATCH_LIMITS` patches of b.
        median_px: median distance of all matches, in original pixels of b; infinite where half go to infinity.
        median_inlier_px: median distance of the inliers, likewise; None without inliers.
    """

    within: tuple[float, ...]
    median_px: float
    median_inlier_px: float | None


@dataclass(frozen=True)
class Measured:
    """One method on one pair.

    Attributes:
        method: name of the method.
        error_pct: mean transfer error in percent of b's diagonal; None for no model.
        errors: of its matches; None when there are none, or the method keeps none.
        refined: number of matches after refinement below a patch, and their median distance from the truth in original
            pixels of b; None where there was no refinement.
        time_ms: everything but reading files: features of both pictures, matching, verifying.
    """

    method: str
    error_pct: float | None
    matches: int
    inliers: int
    errors: MatchErrors | None
    time_ms: float
    refined: tuple[int, float] | None = None

    @property
    def inlier_ratio(self) -> float:
        return self.inliers / self.matches if self.matches else 0.0

    def succeeds(self, limit_pct: float) -> bool:
        return self.error_pct is not None and self.error_pct <= limit_pct


@dataclass(frozen=True)
class Summary:
    """One method on many pairs.

    Attributes:
        pairs: how many.
        success: share of pairs (0 to 1) that succeed at each of `SUCCESS_LIMITS_PCT`.
        area: area under the curve of success over the limit, from 0 to each of `AREA_LIMITS_PCT`, divided by that (so
            0 to 1).
        median_error_pct: median error; infinite when half of the pairs have no model.
        median_match_px: median over pairs of the inliers' median distance from the truth, pixels of b; None when no
            pair has one.
        median_refined_px: the same of the refined matches; None when no pair has any.
        median_time_ms: median time of a pair.
    """

    pairs: int
    success: tuple[float, ...]
    area: tuple[float, ...]
    median_error_pct: float
    median_match_px: float | None
    median_refined_px: float | None
    median_time_ms: float


def transfer_error_pct(
    found: NDArray[np.float64] | None,
    true: NDArray[np.float64],
    points_a_px: NDArray[np.float64],
    size_b: tuple[int, int],
) -> float | None:
    """Mean distance between where two geometries send given points of a, in percent of b's diagonal.

    Args:
        found: [3, 3] map of pixels of a to pixels of b, or None for no model.
        true: [3, 3] likewise.
        points_a_px: [N, 2] (x, y).
        size_b: (width, height) in pixels.

    Returns:
        The error; infinite when a point is sent to infinity; None when there is no model.
    """
    if found is None:
        return None
    distances = np.linalg.norm(project(found, points_a_px) - project(true, points_a_px), axis=1)
    mean = float(distances.mean())
    return 100.0 * mean / float(np.hypot(*size_b)) if np.isfinite(mean) else float("inf")


def match_errors(
    points_a_px: NDArray[np.float64],
    points_b_px: NDArray[np.float64],
    inliers: NDArray[np.bool_],
    true: NDArray[np.float64],
    patch_b_px: tuple[float, float],
) -> MatchErrors | None:
    """Distances of matches from the truth; None when there are no matches.

    Args:
        points_a_px, points_b_px: [M, 2] (x, y) in original pixels.
        inliers: [M].
        true: [3, 3] map of pixels of a to pixels of b.
        patch_b_px: (width, height) of a patch in original pixels of b; distances in patches count each axis by its own.
    """
    if not len(points_a_px):
        return None
    offset = project(true, points_a_px) - points_b_px
    offset[~np.isfinite(offset)] = np.inf
    distance_px = np.hypot(offset[:, 0], offset[:, 1])
    patches = np.hypot(offset[:, 0] / patch_b_px[0], offset[:, 1] / patch_b_px[1])
    return MatchErrors(
        within=tuple(float((patches <= limit).mean()) for limit in PATCH_LIMITS),
        median_px=float(np.median(distance_px)),
        median_inlier_px=float(np.median(distance_px[inliers])) if inliers.any() else None,
    )


def area_under_success(errors_pct: Sequence[float | None], limit_pct: float) -> float:
    """Area under the share of pairs whose error is at most x, for x from 0 to `limit_pct`, divided by `limit_pct`.

    The share is a staircase, so the area is exactly the mean over pairs of `max(0, 1 - error / limit)`.

    Raises:
        ValueError: no pairs.
    """
    if not errors_pct:
        raise ValueError("no pairs")
    return float(np.mean([0.0 if error is None else max(0.0, 1.0 - error / limit_pct) for error in errors_pct]))


def median_error(errors_pct: Sequence[float | None]) -> float:
    """Median with "no model" as infinite; of an even number, the mean of the middle two."""
    ordered = sorted(float("inf") if error is None else error for error in errors_pct)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2


def summarise(measured: Sequence[Measured]) -> Summary:
    """What the pairs of one method amount to.

    Raises:
        ValueError: no pairs.
    """
    if not measured:
        raise ValueError("no pairs")
    errors = [item.error_pct for item in measured]
    medians_px = [
        item.errors.median_inlier_px for item in measured if item.errors and item.errors.median_inlier_px is not None
    ]
    refined_px = [item.refined[1] for item in measured if item.refined is not None]
    return Summary(
        pairs=len(measured),
        success=tuple(sum(item.succeeds(limit) for item in measured) / len(measured) for limit in SUCCESS_LIMITS_PCT),
        area=tuple(area_under_success(errors, limit) for limit in AREA_LIMITS_PCT),
        median_error_pct=median_error(errors),
        median_match_px=float(np.median(medians_px)) if medians_px else None,
        median_refined_px=float(np.median(refined_px)) if refined_px else None,
        median_time_ms=float(np.median([item.time_ms for item in measured])),
    )
