"""Soft arg-max: matches of tokens placed to a fraction of a patch, from the feature maps alone.

Around a match, a's token is compared with the 3 x 3 tokens of b about the matched one, and b's with those of a. The
mean of a neighbourhood, weighted by the soft-max of similarities, says where in b the centre of a's token lies, and
where in a that of b's. To first order, half of either shift is the same match, and the noise of both is averaged.
"""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix
from engine.features import FeatureMap, Matches
from engine.refine.matches import FrameMatches
from engine.refine.temperature import list_temperature
from engine.views import canvas_to_encoded


def soft_matches(a: FeatureMap, b: FeatureMap, matches: Matches) -> FrameMatches:
    """The matches with refined positions, in their order; points in original pixels of a and b.

    Args:
        a, b: feature maps, also of selected tokens: those left out take no part.
        matches: rows of both.
    """
    index_a, index_b = np.asarray(matches.index_a, np.intp), np.asarray(matches.index_b, np.intp)
    shift_b, variance_b = _shifts(a.descriptors[index_a], b, index_b)
    shift_a, variance_a = _shifts(b.descriptors[index_b], a, index_a)
    points_a, points_b = _moved(a, index_a, shift_a / 2), _moved(b, index_b, shift_b / 2)
    spread = np.sqrt((variance_a + variance_b) / 2) * _token_px(b)
    return FrameMatches(points_a, points_b, spread, matches.similarity.astype(np.float64))


def _shifts(
    wanted: NDArray[np.float16], features: FeatureMap, centre: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in `features` the wanted descriptors [M, D] lie, near the rows `centre` [M].

    Returns:
        [M, 2] shift (x, y) from the centre, and its variance [M] along an axis, both in tokens.
    """
    rows, cols = features.grid
    rows_of_token = np.full(rows * cols, -1, np.intp)
    rows_of_token[features.token_index] = np.arange(len(features))
    temperature = list_temperature(features.descriptors, rows_of_token, features.grid)
    row, col = np.divmod(features.token_index[centre].astype(np.intp), cols)
    seeker = wanted.astype(np.float32)
    best = np.einsum("md,md->m", seeker, features.descriptors[centre].astype(np.float32))
    total, mean, square = np.zeros(len(centre)), np.zeros((len(centre), 2)), np.zeros(len(centre))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            there_row, there_col = row + down, col + right
            inside = (there_row >= 0) & (there_row < rows) & (there_col >= 0) & (there_col < cols)
            at = rows_of_token[np.where(inside, there_row * cols + there_col, 0)]
            known = inside & (at >= 0)
            value = np.einsum("md,md->m", seeker, features.descriptors[np.maximum(at, 0)].astype(np.float32))
            weight = np.where(known, np.exp(np.minimum((value - best) / temperature, 30.0)), 0.0)
            total += weight
            mean += weight[:, None] * np.array([right, down])
            square += weight * (right**2 + down**2)
    mean /= total[:, None]
    return mean, np.maximum(square / total - (mean**2).sum(axis=1), 1e-4) / 2


def _moved(features: FeatureMap, at: NDArray[np.intp], shift_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """[M, 2] original pixels: centres of the tokens at these rows, moved by so many tokens of the canvas."""
    canvas = features.canvas_size or features.encoded_size
    token = np.array([canvas[0] / features.grid[1], canvas[1] / features.grid[0]])
    placed = features.points_canvas_px[at] + shift_tokens * token
    if features.canvas_size is not None:
        placed = project(canvas_to_encoded(features.encoded_size, canvas, features.rotation_deg), placed)
    return project(rescale_matrix(features.encoded_size, features.image_size), placed)


def _token_px(features: FeatureMap) -> float:
    """Side of a token in original pixels."""
    canvas = features.canvas_size or features.encoded_size
    sides = (canvas[0] / features.grid[1], canvas[1] / features.grid[0])
    grown = (features.image_size[0] / features.encoded_size[0], features.image_size[1] / features.encoded_size[1])
    return float(np.sqrt(sides[0] * sides[1] * grown[0] * grown[1]))
