"""Feature maps: the tokens of one view of one image, and where they lie."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix, token_centres_px
from engine.views import View, canvas_size, canvas_to_encoded


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Tokens of one view of one image under one graph and one preprocessing.

    A full map holds every token of the grid; `select` makes a smaller one that keeps each token's own `token_index`.

    Attributes:
        key: image key, `[ID:]ALT.FRAME`, or `<folder>/<stem>` of a file given by path.
        descriptors: [N, D] float16, C order; tokens divided by their L2 norm, then rounded to float16.
        norms: [N] float32; L2 norm of each token before the division.
        token_index: [N] int32, ascending; row-major index in the grid, `row * cols + col`.
        global_descriptor: [D] float32, L2-normalised (class token).
        grid: (rows, cols) of the full grid.
        image_size: (width, height) of the stored file in pixels.
        encoded_size: (width, height) in pixels of the upright picture at the scale it was encoded at.
        rotation_deg: clockwise turn of the picture that the graph was given (see `engine.views`).
        canvas_size: (width, height) in pixels that the graph was given; None where that is `encoded_size`.
    """

    key: str
    descriptors: NDArray[np.float16]
    norms: NDArray[np.float32]
    token_index: NDArray[np.int32]
    global_descriptor: NDArray[np.float32]
    grid: tuple[int, int]
    image_size: tuple[int, int]
    encoded_size: tuple[int, int]
    rotation_deg: float = 0.0
    canvas_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        count = len(self.token_index)
        if self.descriptors.ndim != 2 or len(self.descriptors) != count or self.norms.shape != (count,):
            raise ValueError(f"{self.key}: descriptors, norms and token_index must agree in length")
        if count and int(self.token_index[-1]) >= self.grid[0] * self.grid[1]:
            raise ValueError(f"{self.key}: a token index lies outside the grid {self.grid}")

    def __len__(self) -> int:
        return len(self.token_index)

    @property
    def points_px(self) -> NDArray[np.float64]:
        """[N, 2] float64: centre (x, y) of each token in original pixels."""
        if self.canvas_size is None:
            return token_centres_px(self.token_index, self.grid, self.image_size)
        return project(rescale_matrix(self.encoded_size, self.image_size), self.points_encoded_px)

    @property
    def points_encoded_px(self) -> NDArray[np.float64]:
        """[N, 2] float64: centre (x, y) of each token in pixels of the upright encoded picture."""
        if self.canvas_size is None:
            return token_centres_px(self.token_index, self.grid, self.encoded_size)
        upright = canvas_to_encoded(self.encoded_size, self.canvas_size, self.rotation_deg)
        return project(upright, self.points_canvas_px)

    @property
    def points_canvas_px(self) -> NDArray[np.float64]:
        """[N, 2] float64: centre (x, y) of each token in pixels of what the graph was given."""
        return token_centres_px(self.token_index, self.grid, self.canvas_size or self.encoded_size)

    def select(self, rows: NDArray[np.intp]) -> "FeatureMap":
        """The map of these rows of the arrays (ascending), with their token indices kept."""
        return replace(
            self, descriptors=self.descriptors[rows], norms=self.norms[rows], token_index=self.token_index[rows]
        )


def in_view(features: FeatureMap, view: View) -> FeatureMap:
    """A stored map placed where its view puts it: stores keep the grid of a turned picture, not its canvas."""
    if not view.rotation_deg:
        return features
    return replace(features, rotation_deg=view.rotation_deg, canvas_size=_canvas(features, view.rotation_deg))


def _canvas(features: FeatureMap, rotation_deg: float) -> tuple[int, int]:
    """The canvas of a turned view: that of the stride, a divisor of both sides, at which it has the map's grid."""
    (rows, cols), common = features.grid, math.gcd(*features.encoded_size)
    for stride in range(common, 0, -1):
        canvas = canvas_size(features.encoded_size, rotation_deg, stride)
        if common % stride == 0 and canvas == (cols * stride, rows * stride):
            return canvas
    raise ValueError(f"{features.key}: a grid of {rows} x {cols} fits no picture turned by {rotation_deg:g} degrees")


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of two feature maps, best first (similarity falling; ties by index in a, then in b).

    Attributes:
        index_a: [M] int32; row of a's arrays (not a token index).
        index_b: [M] int32; row of b's arrays.
        similarity: [M] float32; cosine similarity.
    """

    index_a: NDArray[np.int32]
    index_b: NDArray[np.int32]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.similarity)

    @classmethod
    def best_first(
        cls, index_a: NDArray[np.integer], index_b: NDArray[np.integer], similarity: NDArray[np.floating]
    ) -> "Matches":
        """Sorts matches into the order this class promises."""
        order = np.lexsort((index_b, index_a, -similarity))
        return cls(
            index_a[order].astype(np.int32), index_b[order].astype(np.int32), similarity[order].astype(np.float32)
        )

    def take(self, rows: NDArray[np.intp]) -> "Matches":
        """The matches of these rows, in the order given."""
        return Matches(self.index_a[rows], self.index_b[rows], self.similarity[rows])
