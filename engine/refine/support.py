"""What all tokens of two feature maps say of a point map, matched ones and others.

Under the right map, a token is among those most like what lies where the map sends it; under a wrong one, the token
there is one of many. Ranks are compared instead of similarities, so that the figure does not depend on the backbone.
"""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix
from engine.features import FeatureMap
from engine.views import canvas_to_encoded

TOP = 0.05
"""A token supports a map where the one it is sent to is in this top share of all, by similarity."""
FEWEST = 24
"""Tokens that must be sent into the other photograph for their share to mean anything."""

Similarity = NDArray[np.float32]


def similarity_of(a: FeatureMap, b: FeatureMap) -> Similarity:
    """[N_a, N_b] float32 cosines of all tokens."""
    return np.asarray(a.descriptors.astype(np.float32) @ b.descriptors.astype(np.float32).T)


def support(a: FeatureMap, b: FeatureMap, matrix: NDArray[np.float64], similarity: Similarity) -> float:
    """Share of the tokens in the overlap that support a point map, 0 to 1: the smaller one of both directions.

    Args:
        matrix: [3, 3] from original pixels of a to those of b.
        similarity: of `similarity_of`.

    Returns:
        0 where the map cannot be inverted, or sends fewer than 24 tokens into the other photograph.
    """
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return 0.0
    forth = _share(a, b, matrix, similarity)
    return forth and min(forth, _share(b, a, np.asarray(np.linalg.inv(matrix), np.float64), similarity.T))


def _share(a: FeatureMap, b: FeatureMap, matrix: NDArray[np.float64], similarity: Similarity) -> float:
    there = _rows_at(b, project(matrix, a.points_px))
    sent = np.flatnonzero(there >= 0)
    if len(sent) < FEWEST:
        return 0.0
    ordered = similarity[sent]
    reached = ordered[np.arange(len(sent)), there[sent]]
    better = np.count_nonzero(ordered > reached[:, None], axis=1)
    return float(np.mean(better < TOP * len(b)))


def _rows_at(features: FeatureMap, points_px: NDArray[np.float64]) -> NDArray[np.intp]:
    """[N] row of the token that each point of original pixels lies in; -1 where there is none."""
    canvas = features.canvas_size or features.encoded_size
    to_canvas = rescale_matrix(features.image_size, features.encoded_size)
    if features.canvas_size is not None:
        turned = canvas_to_encoded(features.encoded_size, canvas, features.rotation_deg)
        to_canvas = np.linalg.inv(turned) @ to_canvas
    placed = project(to_canvas, points_px) + 0.5
    rows, cols = features.grid
    with np.errstate(invalid="ignore"):
        col, row = np.floor(placed[:, 0] * cols / canvas[0]), np.floor(placed[:, 1] * rows / canvas[1])
        inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
    row_of_token = np.full(rows * cols, -1, np.intp)
    row_of_token[features.token_index] = np.arange(len(features))
    found = np.full(len(points_px), -1, np.intp)
    found[inside] = row_of_token[(row[inside] * cols + col[inside]).astype(np.intp)]
    return found
