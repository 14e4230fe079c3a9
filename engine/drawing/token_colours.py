"""Tokens as pictures: their principal components as colours, and the similarity of all to one."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.drawing.layout import Panel
from engine.features import FeatureMap
from engine.selection import select_tokens
from engine.views import canvas_to_encoded

_COMPONENTS = 3
_BLOCK, _SWEEPS = 16, 8
_PERCENTILES = (2.0, 98.0)
"""Of a component's values, where colours begin and end: a few odd tokens must not use up the contrast."""


def principal_colours(
    maps: Sequence[FeatureMap], keypoint_threshold: float
) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """The three strongest components of the tokens of all maps together, as red, green and blue.

    Equal tokens get equal colours in every map. Tokens that take no part in matching (of small norm, or beside the
    photograph in a turned view) have no say in the components.

    Args:
        maps: full feature maps of one backbone.
        keypoint_threshold: smallest token norm, min-max scaled within its photograph, that counts.

    Returns:
        For each map: colours [rows, cols, 3], and [rows, cols] bool, which tokens are not of too small a norm.
    """
    counted = []
    for features in maps:
        mask = np.zeros(features.grid[0] * features.grid[1], bool)
        mask[select_tokens(features, keypoint_threshold, len(features)).token_index] = True
        counted.append(mask)
    tokens = [features.descriptors.astype(np.float32) for features in maps]
    together = np.concatenate([values[mask] for values, mask in zip(tokens, counted, strict=True)])
    if not len(together):
        together = np.concatenate(tokens)
    mean = together.mean(axis=0)
    axes = principal_axes(together - mean)
    low, high = np.percentile((together - mean) @ axes, _PERCENTILES, axis=0)
    span = np.maximum(high - low, 1e-6)
    painted = []
    for features, values, mask in zip(maps, tokens, counted, strict=True):
        levels = np.clip(((values - mean) @ axes - low) / span, 0.0, 1.0)
        colours = np.round(levels * 255).astype(np.uint8)
        painted.append(
            (colours.reshape(*features.grid, _COMPONENTS), mask.reshape(features.grid) | ~on_photograph(features))
        )
    return painted


def principal_axes(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """The three directions of greatest variance of rows [N, D] whose mean is zero, [D, 3], the greatest first.

    By subspace iteration from a fixed start (Halko, Martinsson and Tropp 2011, algorithm 4.4), as D may be 4,096. The
    sign of a direction is free; here its entry of greatest size is positive, so that one backbone gives like things
    like colours in every pair.
    """
    block = min(_BLOCK, *centred.shape)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], block)).astype(np.float32)
    for _ in range(_SWEEPS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    _, _, within = np.linalg.svd(centred @ basis, full_matrices=False)
    axes = np.zeros((centred.shape[1], _COMPONENTS), np.float32)
    found = (basis @ within.T)[:, :_COMPONENTS]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    axes[:, : found.shape[1]] = found * np.where(largest < 0, -1.0, 1.0)
    return axes


def token_at(features: FeatureMap, point_px: tuple[float, float]) -> int:
    """The row-major index in a full map of the token whose patch holds a point (x, y), in original pixels."""
    if features.canvas_size is not None:
        return int(np.linalg.norm(features.points_px - point_px, axis=1).argmin())
    (rows, cols), (width, height) = features.grid, features.image_size
    col = int(np.clip((point_px[0] + 0.5) * cols / width, 0, cols - 1))
    row = int(np.clip((point_px[1] + 0.5) * rows / height, 0, rows - 1))
    return row * cols + col


def similarity_to(features_a: FeatureMap, token: int, features_b: FeatureMap) -> NDArray[np.float32]:
    """[rows, cols] float32: cosine similarity of each token of b to one of a."""
    values = features_b.descriptors.astype(np.float32) @ features_a.descriptors[token].astype(np.float32)
    return np.asarray(values, np.float32).reshape(features_b.grid)


def on_photograph(features: FeatureMap) -> NDArray[np.bool_]:
    """[rows, cols] bool: tokens of a full map whose centre is not beside a turned photograph."""
    points, size = features.points_encoded_px, np.array(features.encoded_size)
    return np.asarray(((points >= -0.5) & (points <= size - 0.5)).all(axis=1)).reshape(features.grid)


def token_to_panel(features: FeatureMap, panel: Panel) -> NDArray[np.float64]:
    """[3, 3] map from (col, row) of a token to its centre in pixels of the picture."""
    rows, cols = features.grid
    canvas = features.canvas_size or features.encoded_size
    to_panel = panel.matrix @ rescale_matrix(features.encoded_size, features.image_size)
    if features.canvas_size is not None:
        to_panel = to_panel @ canvas_to_encoded(features.encoded_size, canvas, features.rotation_deg)
    return np.asarray(to_panel @ rescale_matrix((cols, rows), canvas))


def spread_over(
    small: NDArray[np.uint8], features: FeatureMap, panel: Panel, *, smooth: bool = False
) -> NDArray[np.uint8]:
    """A picture of tokens [rows, cols, ...] at the size of the panel, each token where its patch is.

    Args:
        smooth: blend from token to token, rather than showing each as a field.
    """
    to_panel = token_to_panel(features, panel)
    corner = np.array([[1.0, 0.0, -panel.left], [0.0, 1.0, -panel.top], [0.0, 0.0, 1.0]])
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return np.asarray(
        cv2.warpAffine(
            small, (corner @ to_panel)[:2], (panel.width, panel.height), flags=how, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )
