"""The steps of refinement, each taken only where it makes the alignment better.

patches -> soft arg-max -> dense matches of the encoded overlap -> structure at rising resolution -> tiles of what is
larger. The yardstick of the guard is independent of the matches: `engine.refine.alignment`. Where several maps are
proposed to start from, the first structure step decides: of pictures that show different places it finds too little.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.refine.alignment import COARSE_PX, alignment, likeness
from engine.refine.attempts import Attempt
from engine.refine.dense import Tokens, dense_matches
from engine.refine.frame import Overlap, box_frame, find_overlap, overlap_frame
from engine.refine.matches import FrameMatches, uncertainties
from engine.refine.photograph import Matrix, Photograph, Pixels, scale_at
from engine.refine.structure import Blocks, structure_matches
from engine.refine.tiles import TILE_PX, tile_corners, tile_matches
from engine.results import Refinement, RefinementStep

Estimate = Callable[[NDArray[np.float64], NDArray[np.float64], float], tuple[Matrix | None, NDArray[np.bool_]]]
"""Points a and b [M, 2] of a frame, best first, and the threshold in its pixels, to a point map and its inliers."""

MIN_INLIERS = 12
POINTS_KEPT = 1000
"""Refined matches kept, best first."""
SAME_PLACE_SHARE = 0.35
"""A structure step counts where so many of its matches agree. Between pictures of different places, a fifth to a third
do: as many as fit some homography by chance, in windows that are a few times larger than the threshold."""
CLEAR_SHARE = 0.5
"""Where so many agree, no other start is tried."""
_SLACK = 0.002
"""Alignments nearer than this are the same."""
_WORTH_REPEATING = 0.004
_LARGER = 1.5
"""Tiles are looked at where the photographs hold so many times the detail of the frame before."""
_TILES_JUDGED = 5
TILE_BLOCKS = Blocks(48, 8, 36)
TILE_THRESHOLD_PX = 2.5


@dataclass(frozen=True, eq=False)
class Soft:
    """The matches of the patches, placed by the soft arg-max.

    Attributes:
        matches: in original pixels, spreads in those of b.
        threshold_px: largest error of an inlier in original pixels of b.
    """

    matches: FrameMatches
    threshold_px: float


@dataclass(frozen=True, eq=False)
class Start:
    """A map to refine.

    Attributes:
        name: what proposed it; empty for the filter.
        matrix: [3, 3] from original pixels of a to b.
    """

    name: str
    matrix: Matrix


def refine(
    a: Pixels,
    b: Pixels,
    starts: Iterable[Start],
    estimate: Estimate,
    tokens: Tokens,
    steps: Sequence[Attempt],
    stride: int,
    *,
    verified: Matrix | None = None,
    soft: Soft | None = None,
) -> tuple[Matrix | None, Refinement]:
    """Refines a point map between two photographs.

    Args:
        a, b: [H, W, 3] uint8 RGB.
        starts: where to begin, likeliest first; the next one is asked for only where one is not clearly right.
        estimate: robust estimation of the map between two pictures.
        tokens: encodes a picture of the frame.
        steps: what to try on frames of the overlap (see `attempts`): a dense step, then ones of structure, the first
            of which decides about the start; none to end with the soft arg-max.
        stride: pixels of a token.
        verified: the filter's map from original pixels of a to b, which is kept where nothing better is found.
        soft: the first step from the filter's map; None to leave it out.

    Returns:
        The refined map, never one that aligns the photographs worse than the one verified; and how it came about.
    """
    run = _Run(Photograph(a), Photograph(b), verified, estimate, tokens, stride)
    if verified is not None and soft is not None:
        run.softly(soft)
    if not steps:
        return run.outcome()
    dense, first, *later = steps
    agreed = 0.0
    for start in starts:
        agreed = max(agreed, run.begin(start, dense, first))
        if agreed >= CLEAR_SHARE:
            break
    if agreed:
        run.sharpen(later)
    return run.outcome()


class _Run:
    """The state of refining one pair: the best model so far, and what was tried."""

    def __init__(
        self, a: Photograph, b: Photograph, verified: Matrix | None, estimate: Estimate, tokens: Tokens, stride: int
    ) -> None:
        self._a, self._b = a, b
        self._estimate, self._tokens, self._stride = estimate, tokens, stride
        self._steps: list[RefinementStep] = []
        self._from = ""
        self._begin(verified)
        self._before = self._score(COARSE_PX)

    def _begin(self, matrix: Matrix | None) -> None:
        self._best = matrix
        self._scores: dict[int, float | None] = {}
        self._peaks: dict[int, float] = {}
        self._kept = (np.empty((0, 2)), np.empty((0, 2)), np.empty(0))

    def outcome(self) -> tuple[Matrix | None, Refinement]:
        points_a, points_b, sigma = (values[:POINTS_KEPT] for values in self._kept)
        after = self._score(COARSE_PX)
        return self._best, Refinement(tuple(self._steps), self._before, points_a, points_b, sigma, after)

    def softly(self, soft: Soft) -> None:
        """The first step: the model anew from softly placed patches."""
        found = soft.matches
        model, inliers = self._estimate(found.a, found.b, soft.threshold_px)
        sigma = _sigma(model, found, inliers)
        self._judge("softargmax", found, inliers, model, sigma, COARSE_PX)

    def begin(self, start: Start, dense: Attempt, structure: Attempt) -> float:
        """Tries a start.

        Returns:
            The share of the structure's blocks that agree, where that makes its map the best one so far; else 0, and
            the map before stays.
        """
        before, steps = (self._best, self._scores, self._peaks, self._kept, self._from), len(self._steps)
        old = self._score(COARSE_PX)
        # The filter's map goes on from what the soft arg-max made of it, unless another start has taken its place.
        anew = bool(start.name or self._from)
        self._from = f"_from_{start.name}" if start.name else ""
        if anew:
            self._begin(start.matrix)
        self.frame_step(dense)
        if self.frame_step(structure) is not None:
            new = self._score(COARSE_PX)
            if not anew or old is None or (new is not None and new >= old - _SLACK):
                return self._steps[-1].inliers / self._steps[-1].matches
        if anew:
            self._best, self._scores, self._peaks, self._kept, self._from = before
            self._steps[steps:] = [replace(step, accepted=False) for step in self._steps[steps:]]
        return 0.0

    def sharpen(self, steps: Sequence[Attempt]) -> None:
        """Structure at rising resolution, then tiles of what is larger."""
        repeated = False
        for step in steps:
            gained = self.frame_step(step)
            if gained is None:
                return
            if step is steps[-1] and gained > _WORTH_REPEATING and not repeated:
                repeated = self.frame_step(step) is not None
        if steps:
            self.tile_steps(steps[-1].shorter_px)

    def frame_step(self, step: Attempt) -> float | None:
        """A structure step (or a further dense one); returns the gain in alignment, None where it found too little."""
        frame = self._best is not None and overlap_frame(self._a, self._b, self._best, step.shorter_px, self._stride)
        if not frame:
            return None
        found = (
            structure_matches(frame, step.blocks)
            if step.blocks is not None
            else dense_matches(frame, self._tokens, self._stride, step.reach)
        )
        model, inliers = self._estimate(found.a, found.b, step.threshold_px)
        sigma = _sigma(model, found, inliers) * frame.pixel_of_b
        placed = None if model is None else frame.model(model)
        if step.blocks is not None and inliers.sum() < SAME_PLACE_SHARE * len(found):
            placed = None
        # Below the yardstick's own resolution a coarse one would judge noise.
        yardstick = 2 * COARSE_PX if step.shorter_px > 1.5 * COARSE_PX else COARSE_PX
        old = self._score(yardstick)
        judged = self._judge(step.label + self._from, frame.in_photographs(found), inliers, placed, sigma, yardstick)
        if placed is None:
            return None
        return (self._score(yardstick) or 0.0) - (old or 0.0) if judged else 0.0

    def tile_steps(self, reached_px: float) -> None:
        """Tiles at twice the resolution, and so on to that of the coarser photograph, while they agree."""
        while self._best is not None:
            overlap = find_overlap(self._a.size, self._b.size, self._best)
            if overlap is None or overlap.native_px < _LARGER * reached_px:
                return
            reached_px = min(2.0 * reached_px, overlap.native_px)
            if not self._tile_step(overlap, reached_px):
                return

    def _tile_step(self, overlap: Overlap, shorter_px: float) -> bool:
        assert self._best is not None
        resolution = shorter_px / float(overlap.extent.min())
        found = tile_matches(self._a, self._b, self._best, overlap, resolution, TILE_BLOCKS)
        pixel_of_b = scale_at(self._best, overlap.low + overlap.extent / 2) / resolution
        model, inliers = self._estimate(found.a, found.b, TILE_THRESHOLD_PX * pixel_of_b)
        count = int(inliers.sum())
        label = f"tiles_{round(shorter_px)}px{self._from}"
        if model is None or count < max(MIN_INLIERS, SAME_PLACE_SHARE * len(found)):
            self._steps.append(RefinementStep(label, len(found), count, None, None, False))
            return False
        sigma = _sigma(model, found, inliers)
        score = self._tile_likeness(overlap, resolution, model)
        old = self._tile_likeness(overlap, resolution, self._best)
        better = score is not None and (old is None or score >= old - _SLACK)
        self._steps.append(RefinementStep(label, len(found), count, float(np.median(sigma)), score, better))
        if better:
            self._take(model, found, inliers, sigma)
        return better

    def _tile_likeness(self, overlap: Overlap, resolution: float, matrix: Matrix) -> float | None:
        """The mean alignment of a few tiles under a model."""
        side = TILE_PX / resolution
        corners = tile_corners(overlap, side, 0.0)
        chosen = corners[np.unique(np.linspace(0, len(corners) - 1, _TILES_JUDGED).round().astype(int))]
        extent, size = np.array([side, side]), (TILE_PX, TILE_PX)
        frames = (box_frame(self._a, self._b, matrix, corner, extent, size) for corner in chosen)
        values = [value for value in map(likeness, frames) if value is not None]
        return float(np.mean(values)) if values else None

    def _judge(
        self,
        label: str,
        found: FrameMatches,
        inliers: NDArray[np.bool_],
        model: Matrix | None,
        sigma: NDArray[np.float64],
        yardstick_px: int,
    ) -> bool:
        """Records a step, and takes its model (matches and model in original pixels) where that aligns no worse."""
        count = int(inliers.sum())
        if model is None or count < MIN_INLIERS:
            self._steps.append(RefinementStep(label, len(found), count, None, None, False))
            return False
        old, score = self._peak(yardstick_px), alignment(self._a, self._b, model, yardstick_px)
        better = score is not None and (old is None or score >= old - _SLACK)
        self._steps.append(RefinementStep(label, len(found), count, float(np.median(sigma)), score, better))
        if better:
            self._take(model, found, inliers, sigma)
            self._scores[yardstick_px] = score
        return better

    def _take(self, model: Matrix, found: FrameMatches, inliers: NDArray[np.bool_], sigma: NDArray[np.float64]) -> None:
        self._best, self._scores = model, {}
        self._kept = (found.a[inliers], found.b[inliers], sigma)

    def _score(self, yardstick_px: int) -> float | None:
        """The alignment of the best model so far."""
        if self._best is None:
            return None
        if yardstick_px not in self._scores:
            self._scores[yardstick_px] = alignment(self._a, self._b, self._best, yardstick_px)
        return self._scores[yardstick_px]

    def _peak(self, yardstick_px: int) -> float | None:
        """The best alignment of any model taken since the start, so that many small losses do not add up."""
        score = self._score(yardstick_px)
        if score is not None:
            self._peaks[yardstick_px] = max(score, self._peaks.get(yardstick_px, score))
        return self._peaks.get(yardstick_px)


def _sigma(model: Matrix | None, found: FrameMatches, inliers: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Standard deviation of each inlier along one axis, in the pixels of its picture."""
    if model is None:
        return np.empty(0)
    error = np.linalg.norm(project(model, found.a[inliers]) - found.b[inliers], axis=1)
    return uncertainties(error, found.spread[inliers])
