"""A plugin to copy: one matcher and one filter. Change the names, the options and the two functions.

In a package of your own, `pyproject.toml` makes it known, and `engine plugins` lists it once it is installed:

    [project.entry-points.dinov3_match]
    my_plugin = "my_package.my_module"
"""  # noqa: N999 (capitals make it stand out in the folder)

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FeatureMap, FilterRecord, MatcherRecord, Matches, ModelKind, hookimpl, option


@dataclass(frozen=True)
class NearestOptions:
    """Given as `-M name=value`; every option has a default, a range and a line of help."""

    min_similarity: float = option(0.5, minimum=-1.0, maximum=1.0, help="smallest cosine similarity of a match")


def match(a: FeatureMap, b: FeatureMap, options: NearestOptions) -> Matches:
    """The nearest token of b for each token of a. Returns rows of the arrays (not token indices), best first.

    Maps may be empty. The engine applies its own thresholds and makes matches one-to-one afterwards.
    """
    if not len(a) or not len(b):
        return Matches.best_first(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))
    similarity = a.descriptors.astype(np.float32) @ b.descriptors.astype(np.float32).T
    nearest, best = similarity.argmax(axis=1), similarity.max(axis=1)
    index_a = np.flatnonzero(best >= options.min_similarity)
    return Matches.best_first(index_a, nearest[index_a], best[index_a])


@hookimpl
def engine_matchers() -> list[MatcherRecord]:
    """Matchers on offer. Import anything heavy in the factory, so that listing plugins stays quick."""
    return [MatcherRecord("nearest", "nearest neighbour, one way", NearestOptions, factory=lambda: match)]


@dataclass(frozen=True)
class ShiftOptions:
    """Given as `-F name=value`."""

    reproj_th: float = option(8.0, minimum=0.01, help="largest error of an inlier in pixels")


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: ShiftOptions) -> Estimate:
    """The median shift from a to b. Returns a matrix of None where there is none, and one inlier flag per match."""
    if not len(points_a_px):
        return Estimate(None, np.zeros(0, bool))
    matrix = np.eye(3)
    matrix[:2, 2] = np.median(points_b_px - points_a_px, axis=0)
    error_px = np.linalg.norm(points_a_px + matrix[:2, 2] - points_b_px, axis=1)
    return Estimate(matrix, error_px <= options.reproj_th)


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """Filters on offer."""
    return [FilterRecord("shift", "one shift", ShiftOptions, lambda: verify, ModelKind.POINT_MAP, min_matches=1)]
