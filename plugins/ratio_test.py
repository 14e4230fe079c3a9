"""Matcher `ratio_test`: nearest neighbours that are clearly nearer than the second nearest (Lowe, IJCV 2004, 7.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import FeatureMap, MatcherRecord, Matches, hookimpl, option
from plugins.nearest import cosine_of_pairs, nearest_both_ways


@dataclass(frozen=True)
class RatioTestOptions:
    """Options of `ratio_test`."""

    ratio: float = option(
        0.9, minimum=0.01, maximum=1.0, help="largest ratio of the distances to the nearest and the second nearest"
    )
    mutual: bool = option(True, help="demand the same from b to a, and that both are each other's nearest")


def match(a: FeatureMap, b: FeatureMap, options: RatioTestOptions) -> Matches:
    """Matches (i, j) where j is the nearest of i at less than `ratio` times the distance of the second nearest.

    Distances are those of unit vectors, sqrt(2 - 2 s) with s the cosine similarity. Where the other side has a single
    token, there is no second one and nothing to reject. With `mutual`, the result does not depend on which image is a.
    """
    nearest_of_a, nearest_of_b = nearest_both_ways(a.descriptors, b.descriptors, 2)
    if not len(a) or not len(b):
        none = np.empty(0, np.intp)
        return Matches.best_first(none, none, np.empty(0, np.float32))
    distinct = _is_distinct(a.descriptors, b.descriptors, nearest_of_a, options.ratio)
    if options.mutual:
        mutual = nearest_of_b[nearest_of_a[:, 0], 0] == np.arange(len(a))
        distinct_from_b = _is_distinct(b.descriptors, a.descriptors, nearest_of_b, options.ratio)
        distinct &= mutual & distinct_from_b[nearest_of_a[:, 0]]
    index_a = np.flatnonzero(distinct)
    index_b = nearest_of_a[index_a, 0]
    return Matches.best_first(index_a, index_b, cosine_of_pairs(a.descriptors, b.descriptors, index_a, index_b))


def _is_distinct(
    of: NDArray[np.float16], among: NDArray[np.float16], nearest: NDArray[np.intp], ratio: float
) -> NDArray[np.bool_]:
    if nearest.shape[1] < 2:
        return np.ones(len(of), bool)
    row = np.arange(len(of))
    first, second = (np.sqrt(2 - 2 * cosine_of_pairs(of, among, row, nearest[:, rank])) for rank in (0, 1))
    return np.asarray(first < ratio * second)


@hookimpl
def engine_matchers() -> list[MatcherRecord]:
    """The matcher of this module."""
    return [
        MatcherRecord(
            name="ratio_test",
            help="nearest neighbours clearly nearer than the second nearest",
            options=RatioTestOptions,
            factory=lambda: match,
            mode=lambda options: f"ratio_test_r{options.ratio:g}{'_mutual' if options.mutual else ''}_unique",
        )
    ]
