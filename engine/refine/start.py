"""Where refinement may start: the similarities that a view's matches vote for, in original pixels."""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.features import FeatureMap, Matches
from engine.search import likely_similarities
from engine.views import canvas_to_encoded


def placed_matches(
    a: FeatureMap, b: FeatureMap, matches: Matches, scales: tuple[float, float], patch_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Matches as the search compares them: points of a, of b, and the tolerance.

    Points are pixels of what the graph was given, taken to scale 1, so that the turn left over is small.

    Args:
        scales: of the views of a and b.
        patch_share: tolerance in tokens.
    """
    stride = (b.canvas_size or b.encoded_size)[0] / b.grid[1]
    points_a = a.points_canvas_px[np.asarray(matches.index_a, np.intp)] / scales[0]
    points_b = b.points_canvas_px[np.asarray(matches.index_b, np.intp)] / scales[1]
    return points_a, points_b, patch_share * stride / min(1.0, *scales)


def starting_maps(
    a: FeatureMap, b: FeatureMap, matches: Matches, scales: tuple[float, float], patch_share: float
) -> list[NDArray[np.float64]]:
    """The similarities [3, 3] from original pixels of a to those of b that most matches of a view speak for."""
    points_a, points_b, tolerance = placed_matches(a, b, matches, scales, patch_share)
    to_a = np.diag([1 / scales[0], 1 / scales[0], 1.0]) @ np.linalg.inv(_canvas_to_image(a))
    from_b = _canvas_to_image(b) @ np.diag([scales[1], scales[1], 1.0])
    maps = [from_b @ found @ to_a for found in likely_similarities(points_a, points_b, tolerance)]
    return [np.asarray(found / found[2, 2]) for found in maps]


def _canvas_to_image(features: FeatureMap) -> NDArray[np.float64]:
    """[3, 3] map from pixels of what the graph was given to original pixels."""
    to_image = rescale_matrix(features.encoded_size, features.image_size)
    if features.canvas_size is None:
        return to_image
    return to_image @ canvas_to_encoded(features.encoded_size, features.canvas_size, features.rotation_deg)
