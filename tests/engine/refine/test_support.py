"""What the tokens of two maps say of a point map."""

import numpy as np
import pytest

from engine.features import FeatureMap
from engine.refine.support import FEWEST, similarity_of, support
from engine.views import canvas_size

GRID = (20, 24)
SIZE = (384, 320)
IMAGE = (768, 640)


def feature_map(descriptors: np.ndarray, rows: np.ndarray | None = None) -> FeatureMap:
    index = np.arange(GRID[0] * GRID[1], dtype=np.int32) if rows is None else rows.astype(np.int32)
    count = len(index)
    described = descriptors.reshape(-1, descriptors.shape[-1])[index].astype(np.float16)
    return FeatureMap("k", described, np.ones(count, np.float32), index, np.ones(8, np.float32), GRID, IMAGE, SIZE)


def ground(rng: np.random.Generator) -> np.ndarray:
    """[40, 40, 64] unit descriptors of places, all different."""
    values = rng.normal(0, 1, (40, 40, 64))
    return np.asarray(values / np.linalg.norm(values, axis=2, keepdims=True))


def shifted_pair(rng: np.random.Generator, noise: float) -> tuple[FeatureMap, FeatureMap, np.ndarray]:
    """Two maps of one ground, b 5 tokens to the right and 3 down, and the point map of a to b."""
    places = ground(rng)
    a = places[3:23, 5:29]
    b = places[:20, :24] + noise * rng.normal(0, 1, (20, 24, 64))
    b = b / np.linalg.norm(b, axis=2, keepdims=True)
    return feature_map(a), feature_map(b), np.array([[1.0, 0, 5 * 32], [0, 1, 3 * 32], [0, 0, 1]])


def test_tokens_support_the_right_map_and_no_other() -> None:
    a, b, true = shifted_pair(np.random.default_rng(0), 0.05)
    similarity = similarity_of(a, b)
    assert support(a, b, true, similarity) > 0.98
    for wrong in (np.eye(3), np.linalg.inv(true), np.array([[0, -1.0, 600], [1, 0, 10], [0, 0, 1]])):
        assert support(a, b, wrong, similarity) < 0.2


def test_both_directions_count() -> None:
    a, b, true = shifted_pair(np.random.default_rng(1), 0.05)
    # All of a is sent to one token of b, which it resembles: forth all agree, back hardly any.
    alike = np.zeros((20, 24, 64))
    alike[..., 0] = 1.0
    flat, similarity = feature_map(alike), similarity_of(feature_map(alike), b)
    squeezed = np.array([[0.01, 0, 300.0], [0, 0.01, 300.0], [0, 0, 1]])
    assert support(flat, b, squeezed, similarity) < 0.2
    assert support(a, b, true, similarity_of(a, b)) == pytest.approx(
        support(b, a, np.linalg.inv(true), similarity_of(b, a)), abs=1e-6
    )


def test_selected_tokens_are_enough() -> None:
    rng = np.random.default_rng(2)
    places = ground(rng)
    some = np.sort(rng.choice(GRID[0] * GRID[1], 300, replace=False))
    a, b = feature_map(places[:20, :24], some), feature_map(places[:20, :24], some)
    assert support(a, b, np.eye(3), similarity_of(a, b)) == 1.0


def test_maps_that_leave_no_overlap_have_no_support() -> None:
    a, b, _ = shifted_pair(np.random.default_rng(3), 0.05)
    similarity = similarity_of(a, b)
    away = np.array([[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]])
    for matrix in (away, np.zeros((3, 3)), np.full((3, 3), np.nan)):
        assert support(a, b, matrix, similarity) == 0.0
    few = feature_map(ground(np.random.default_rng(4))[:20, :24], np.arange(FEWEST - 1))
    assert support(few, few, np.eye(3), similarity_of(few, few)) == 0.0


@pytest.mark.parametrize("turn", [90.0, 30.0])
def test_turned_views_are_looked_up_in_their_canvas(turn: float) -> None:
    """A map of a turned picture agrees with itself, whatever its canvas."""
    rng = np.random.default_rng(5)
    canvas = canvas_size(SIZE, turn, 16)
    grid = (canvas[1] // 16, canvas[0] // 16)
    values = rng.normal(0, 1, (grid[0] * grid[1], 64))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    index = np.arange(len(values), dtype=np.int32)
    turned = FeatureMap(
        "k", values.astype(np.float16), np.ones(len(values), np.float32), index, np.ones(8, np.float32),
        grid, IMAGE, SIZE, turn, canvas,
    )  # fmt: skip
    assert support(turned, turned, np.eye(3), similarity_of(turned, turned)) == 1.0
