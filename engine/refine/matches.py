"""Matches between the two pictures of a frame, with what is known of their uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RAYLEIGH_MEDIAN = 1.1774
"""Median of a Rayleigh distribution in units of sigma, the standard deviation along one axis."""


@dataclass(frozen=True, eq=False)
class FrameMatches:
    """Matches, best first.

    Attributes:
        a, b: [M, 2] float64, points in pixels of the frame.
        spread: [M] float64, uncertainty of each match up to a factor that all of them share.
        quality: [M] float64, larger is better.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    spread: NDArray[np.float64]
    quality: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.a)


def joined(parts: Sequence[FrameMatches]) -> FrameMatches:
    """All matches of several parts of one frame, best first."""
    quality = np.concatenate([part.quality for part in parts])
    order = np.argsort(-quality, kind="stable")
    return FrameMatches(
        np.concatenate([part.a for part in parts])[order],
        np.concatenate([part.b for part in parts])[order],
        np.concatenate([part.spread for part in parts])[order],
        quality[order],
    )


def uncertainties(error: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each match along one axis, in the unit of the errors.

    The factor between spread and uncertainty is what makes the median of error over uncertainty that of a Rayleigh
    distribution; spreads are kept within a factor of 4 of their median, as a peak's shape tells no more than that.

    Args:
        error: [K] distance of each match from the model.
        spread: [K] see `FrameMatches`.
    """
    if not len(error):
        return np.empty(0)
    middle = float(np.median(spread))
    kept = np.clip(spread, middle / 4, 4 * middle) if middle > 0 else np.ones(len(spread))
    return np.asarray(kept * (float(np.median(error / kept)) / RAYLEIGH_MEDIAN))
