"""Coordinates. The centre of the top-left pixel is (0, 0), x to the right, y down, in pixels of the stored file.

Token (row, col) of an image of W x H pixels on a grid of rows x cols lies at
`x = (col + 0.5) * W / cols - 0.5`, `y = (row + 0.5) * H / rows - 0.5`.
"""

import numpy as np
from numpy.typing import NDArray


def token_centres_px(
    token_index: NDArray[np.integer], grid: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Centres (x, y) of tokens, [N, 2] float64, in pixels of an image of `size` (width, height).

    Args:
        token_index: [N] row-major indices, `row * cols + col`.
        grid: (rows, cols).
    """
    rows, cols = grid
    row, col = np.divmod(np.asarray(token_index, np.int64), cols)
    x = (col + 0.5) * (size[0] / cols) - 0.5
    y = (row + 0.5) * (size[1] / rows) - 0.5
    return np.stack([x, y], axis=1)


def rescale_matrix(from_size: tuple[int, int], to_size: tuple[int, int]) -> NDArray[np.float64]:
    """[3, 3] map of pixel coordinates of an image of `from_size` (width, height) to the same image at `to_size`."""
    scale_x, scale_y = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array([[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]])


def project(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps points [N, 2] by a [3, 3] point map; points sent to infinity come out as inf or nan, without a warning."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(mapped[:, :2] / mapped[:, 2:])
