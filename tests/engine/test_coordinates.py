"""The pixel positions of tokens, against the definition and against OpenCV's own geometry."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.coordinates import rescale_matrix, token_centres_px

_SIZES = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
_GRIDS = st.tuples(st.integers(1, 60), st.integers(1, 60))


def test_a_token_of_16_pixels_is_centred_between_its_pixels() -> None:
    centres = token_centres_px(np.array([0, 1, 3, 5]), (2, 3), (48, 32))
    np.testing.assert_array_equal(centres, [[7.5, 7.5], [23.5, 7.5], [7.5, 23.5], [39.5, 23.5]])
    assert centres.dtype == np.float64


@given(_GRIDS, _SIZES)
def test_the_centres_are_the_mean_pixel_of_each_cell(grid: tuple[int, int], size: tuple[int, int]) -> None:
    rows, cols = grid
    index = np.arange(rows * cols)
    expected = [
        ((col + 0.5) * size[0] / cols - 0.5, (row + 0.5) * size[1] / rows - 0.5)
        for row in range(rows)
        for col in range(cols)
    ]
    np.testing.assert_allclose(token_centres_px(index, grid, size), expected, rtol=0, atol=1e-9)
    # The mean over the whole grid is the centre of the image, whatever the grid.
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    np.testing.assert_allclose(token_centres_px(index, grid, size).mean(axis=0), centre, rtol=0, atol=1e-8)


@given(_GRIDS, _SIZES, _SIZES)
def test_rescaling_takes_the_centres_of_one_size_to_those_of_another(
    grid: tuple[int, int], size: tuple[int, int], other: tuple[int, int]
) -> None:
    index = np.arange(grid[0] * grid[1])
    points = token_centres_px(index, grid, size)
    moved = cv2.perspectiveTransform(points[None], rescale_matrix(size, other))[0]
    np.testing.assert_allclose(moved, token_centres_px(index, grid, other), rtol=0, atol=1e-8)
    there_and_back = rescale_matrix(other, size) @ rescale_matrix(size, other)
    np.testing.assert_allclose(there_and_back, np.eye(3), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("size", "other"), [((40, 30), (80, 90)), ((30, 40), (300, 120))])
def test_rescaling_agrees_with_opencv_resize(size: tuple[int, int], other: tuple[int, int]) -> None:
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    enlarged = cv2.resize(np.dstack([x, y]), other, interpolation=cv2.INTER_LINEAR)
    # Pixel (u, v) of the enlarged image shows the source position that the inverse map gives (inside the border).
    margin = max(other[0] // size[0], other[1] // size[1])
    v, u = np.mgrid[margin : other[1] - margin, margin : other[0] - margin]
    points = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64)
    source = cv2.perspectiveTransform(points[None], rescale_matrix(other, size))[0]
    np.testing.assert_allclose(enlarged[v.ravel(), u.ravel()], source, rtol=0, atol=1e-4)
