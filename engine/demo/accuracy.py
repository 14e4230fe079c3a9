"""How far an estimated geometry is from the true one."""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project

GRID_SIDE = 9


def mean_transfer_error_pct(
    found: NDArray[np.float64] | None,
    true: NDArray[np.float64],
    size_a: tuple[int, int],
    size_b: tuple[int, int],
) -> float | None:
    """Mean distance between where two geometries send points of a, in percent of b's diagonal.

    The points are a 9 x 9 grid over a, border pixels included; those count that the true geometry sends into b.

    Args:
        found: [3, 3] map of pixels of a to pixels of b, or None for no model.
        true: [3, 3] likewise.
        size_a, size_b: (width, height) in pixels.

    Returns:
        The error; infinite when a point is sent to infinity; None when there is no model.

    Raises:
        ValueError: the true geometry sends no point of the grid into b.
    """
    x, y = np.meshgrid(np.linspace(0, size_a[0] - 1, GRID_SIDE), np.linspace(0, size_a[1] - 1, GRID_SIDE))
    points = np.column_stack([x.ravel(), y.ravel()])
    expected = project(true, points)
    inside = ((expected >= -0.5) & (expected <= np.array(size_b) - 0.5)).all(axis=1)
    if not inside.any():
        raise ValueError("the two photographs do not overlap under the true geometry")
    if found is None:
        return None
    distances = np.linalg.norm(project(found, points[inside]) - expected[inside], axis=1)
    mean = float(distances.mean())
    return 100.0 * mean / float(np.hypot(*size_b)) if np.isfinite(mean) else float("inf")
