"""Filter `off`: no geometry; every match is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, hookimpl


@dataclass(frozen=True)
class OffOptions:
    """`off` has no options."""


def verify(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any) -> Estimate:
    """Every match is an inlier of no model."""
    return Estimate(None, np.ones(len(points_a_px), bool))


@hookimpl
def engine_filters() -> list[FilterRecord]:
    """The filter of this module."""
    return [
        FilterRecord(
            name="off",
            help="no verification: every match is kept",
            options=OffOptions,
            factory=lambda: verify,
            kind=ModelKind.NONE,
            min_matches=0,
        )
    ]
