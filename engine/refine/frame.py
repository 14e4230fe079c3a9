"""The overlap of two photographs in one frame: a cut out and scaled, b warped onto it by the model found so far.

Once both are aligned, the same place has nearly the same position, size and direction in both pictures, so matches
need to be looked for only near by, with descriptors that need not bear any turn.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, token_centres_px
from engine.refine.matches import FrameMatches
from engine.refine.photograph import Matrix, Photograph, Pixels, scale_at

_PROBES = 24
_MARGIN = 0.03
"""Share of the overlap's extent that the frame is larger, as the model may still be a little off."""
_LARGEST_ASPECT = 6.0
_SMALLEST_PX = 32


@dataclass(frozen=True, eq=False)
class OverlapFrame:
    """Both photographs in one frame.

    Attributes:
        a, b: [H, W, 3] uint8 RGB, H and W multiples of the stride.
        to_a, to_b: [3, 3] maps from pixels of the frame to original pixels of a and b.
        size_a, size_b: (width, height) of the photographs in pixels.
    """

    a: Pixels
    b: Pixels
    to_a: Matrix
    to_b: Matrix
    size_a: tuple[int, int]
    size_b: tuple[int, int]

    def seen(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[N] bool: whether points [N, 2] of the frame lie in both photographs."""
        return _inside(project(self.to_a, points), self.size_a) & _inside(project(self.to_b, points), self.size_b)

    def tokens_seen(self, stride: int) -> int:
        """How many tokens of the frame both photographs show."""
        size = (self.a.shape[1], self.a.shape[0])
        grid = (size[1] // stride, size[0] // stride)
        return int(self.seen(token_centres_px(np.arange(grid[0] * grid[1]), grid, size)).sum())

    def in_photographs(self, found: FrameMatches) -> FrameMatches:
        """Matches of the frame in original pixels of a and b; spreads are those of b."""
        there = FrameMatches(project(self.to_a, found.a), project(self.to_b, found.b), found.spread, found.quality)
        return replace(there, spread=found.spread * self.pixel_of_b)

    def model(self, b_from_a: Matrix) -> Matrix:
        """The map from original pixels of a to b that a map [3, 3] between the frame's two pictures stands for."""
        matrix = self.to_b @ b_from_a @ np.linalg.inv(self.to_a)
        return np.asarray(matrix / matrix[2, 2])

    @property
    def pixel_of_b(self) -> float:
        """Size of a pixel of the frame in original pixels of b, at the frame's centre."""
        return scale_at(self.to_b, np.array([(self.b.shape[1] - 1) / 2, (self.b.shape[0] - 1) / 2]))


@dataclass(frozen=True, eq=False)
class Overlap:
    """The box in a that b covers under a model, with a margin.

    Attributes:
        low, extent: [2] upper left corner and size (x, y) in original pixels of a.
        native_px: shorter side of the box in pixels of the coarser photograph.
        finest_px: the same in pixels of the finer one.
    """

    low: NDArray[np.float64]
    extent: NDArray[np.float64]
    native_px: float
    finest_px: float


def find_overlap(size_a: tuple[int, int], size_b: tuple[int, int], a_to_b: Matrix) -> Overlap | None:
    """The overlap of photographs of these sizes (width, height); None where the model leaves (almost) none."""
    x, y = np.meshgrid(np.linspace(0, size_a[0] - 1, _PROBES), np.linspace(0, size_a[1] - 1, _PROBES))
    probes = np.column_stack([x.ravel(), y.ravel()])
    shared = probes[_inside(project(a_to_b, probes), size_b)]
    if len(shared) < 6:
        return None
    low, high = shared.min(axis=0), shared.max(axis=0)
    margin = _MARGIN * (high - low) + np.array(size_a) / _PROBES / 2
    low, high = np.maximum(low - margin, -0.5), np.minimum(high + margin, np.array(size_a) - 0.5)
    extent = high - low
    if extent.min() < _SMALLEST_PX or extent.max() / extent.min() > _LARGEST_ASPECT:
        return None
    growth = scale_at(a_to_b, low + extent / 2)
    return Overlap(low, extent, float(extent.min() * min(1.0, growth)), float(extent.min() * max(1.0, growth)))


def overlap_frame(a: Photograph, b: Photograph, a_to_b: Matrix, shorter_px: int, stride: int) -> OverlapFrame | None:
    """Cuts the overlap out of both photographs.

    Args:
        a_to_b: [3, 3] point map in original pixels.
        shorter_px: shorter side of the frame; less where the photographs hold no more detail.
        stride: the frame's sides are multiples of it.

    Returns:
        None where the model leaves (almost) no overlap.
    """
    overlap = find_overlap(a.size, b.size, a_to_b)
    if overlap is None:
        return None
    # Enlarging beyond the finer photograph's own pixels adds no detail.
    scale = min(shorter_px, 2.0 * overlap.finest_px) / overlap.extent.min()
    width, height = (max(2, round(float(side) * scale / stride)) * stride for side in overlap.extent)
    return box_frame(a, b, a_to_b, overlap.low, overlap.extent, (width, height))


def box_frame(
    a: Photograph,
    b: Photograph,
    a_to_b: Matrix,
    low: NDArray[np.float64],
    extent: NDArray[np.float64],
    size: tuple[int, int],
) -> OverlapFrame:
    """The frame of `size` (width, height) that shows a box of a: upper left corner and extent [2] in its pixels."""
    step = extent / np.array(size)
    first = low + 0.5 * step - 0.5
    to_a = np.array([[step[0], 0.0, first[0]], [0.0, step[1], first[1]], [0.0, 0.0, 1.0]])
    to_b = a_to_b @ to_a
    return OverlapFrame(a.sample(to_a, size), b.sample(to_b, size), to_a, to_b, a.size, b.size)


def _inside(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=1))
