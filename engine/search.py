"""Search over rotation and scale: which view of b shows the scene as a does.

Descriptors bear a turn of some 30 degrees and a change of scale of some 1.5. Beyond, b is encoded under several views.
Trying a view is cheap beside verifying it: its matches are scored by the best two-point similarity (rotation, scale and
shift) among a fixed number of samples, best matches first. The search goes coarse to fine: the four quarter turns, then
the neighbours of the best ones; all views only where no clear winner shows. The few best views are then verified.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.views import View

ROTATION_COUNTS = (1, 4, 8, 12)
SAMPLES = 300
"""Two-point samples per view."""
LARGEST_TURN_DEG = 40.0
LARGEST_SCALE = 2.0
"""How far the similarity of a sample may be from that of the view it is tried in."""
VERIFIED_VIEWS = 3
_FITS = 3
CLEAR_LEAD = 1.5
"""A view whose score exceeds that of every view not beside it by this factor is a clear winner."""


@dataclass(frozen=True)
class SearchPlan:
    """The views that may be tried.

    Attributes:
        rotations: number of rotations, evenly spread over the circle.
        scales: scales of b, in the order of trying.
    """

    rotations: int = 1
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.rotations not in ROTATION_COUNTS:
            raise UsageError(f"rotations {self.rotations}: choose one of {', '.join(map(str, ROTATION_COUNTS))}")
        if not self.scales or any(not 0.1 <= scale <= 10 for scale in self.scales):
            raise UsageError(f"scales {self.scales}: each must be 0.1 to 10")

    @property
    def angles_deg(self) -> tuple[float, ...]:
        """All rotations, degrees clockwise."""
        return tuple(360.0 * index / self.rotations for index in range(self.rotations))

    @property
    def is_trivial(self) -> bool:
        """Whether there is nothing to search."""
        return self.rotations == 1 and self.scales == (1.0,)


def view_score(points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], tolerance_px: float) -> int:
    """Largest number of matches that one similarity explains, among a fixed number of two-point samples.

    Args:
        points_a_px: [M, 2] positions in the encoded pixels of a, best match first.
        points_b_px: [M, 2] positions in the pixels of b's canvas, so that the turn left over is small.
        tolerance_px: largest distance of an explained match.

    Returns:
        The count; 0 where fewer than 3 matches are given. The same input gives the same result.
    """
    count = len(points_a_px)
    if count < 3:
        return 0
    a = points_a_px[:, 0] + 1j * points_a_px[:, 1]
    b = points_b_px[:, 0] + 1j * points_b_px[:, 1]
    factor, shift = _sampled_similarities(a, b, tolerance_px)
    if not len(factor):
        return 0
    error = np.abs(factor[:, None] * a[None, :] + shift[:, None] - b[None, :])
    return int((error < tolerance_px).sum(axis=1).max())


def likely_similarities(
    points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], tolerance_px: float, most: int = 2
) -> list[NDArray[np.float64]]:
    """The similarities that explain most matches, each fitted to what it explains; they differ from one another.

    A similarity has half the parameters of a homography, so few and rough matches determine it far better: where there
    are only some twenty of them, it is the better place to start refining from.

    Args:
        points_a_px, points_b_px, tolerance_px: as for `view_score`.
        most: how many maps at most.

    Returns:
        [3, 3] maps of the points given, best first; none where there are fewer than 3 matches.
    """
    if len(points_a_px) < 3:
        return []
    a = points_a_px[:, 0] + 1j * points_a_px[:, 1]
    b = points_b_px[:, 0] + 1j * points_b_px[:, 1]
    factor, shift = _sampled_similarities(a, b, tolerance_px)
    error = np.abs(factor[:, None] * a + shift[:, None] - b)
    worth = np.maximum(0.0, 1.0 - (error / tolerance_px) ** 2).sum(axis=1)
    probes = np.array([a.real.min() + 1j * a.imag.min(), a.mean(), a.real.max() + 1j * a.imag.max()])
    found: list[tuple[complex, complex]] = []
    for index in np.argsort(-worth, kind="stable"):
        fitted = _fitted(a, b, complex(factor[index]), complex(shift[index]), tolerance_px)
        places = fitted[0] * probes + fitted[1]
        if all(np.abs(places - (known[0] * probes + known[1])).mean() > 3 * tolerance_px for known in found):
            found.append(fitted)
        if len(found) == most:
            break
    return [
        np.array([[f.real, -f.imag, s.real], [f.imag, f.real, s.imag], [0.0, 0.0, 1.0]], np.float64) for f, s in found
    ]


def _fitted(
    a: NDArray[np.complex128], b: NDArray[np.complex128], factor: complex, shift: complex, tolerance_px: float
) -> tuple[complex, complex]:
    """The similarity `factor * a + shift`, fitted again and again to the matches within the tolerance."""
    for _ in range(_FITS):
        near = np.abs(factor * a + shift - b) < tolerance_px
        if near.sum() < 3:
            break
        middle_a, middle_b = a[near].mean(), b[near].mean()
        spread = a[near] - middle_a
        factor = complex(np.vdot(spread, b[near] - middle_b) / max(np.vdot(spread, spread).real, 1e-9))
        shift = complex(middle_b - factor * middle_a)
    return factor, shift


def _sampled_similarities(
    a: NDArray[np.complex128], b: NDArray[np.complex128], tolerance_px: float
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Factors and shifts of similarities through two matches each, those that a view can leave over."""
    first, second = _sample_pairs(len(a))
    base, image = a[second] - a[first], b[second] - b[first]
    wide = np.abs(base) > 4 * tolerance_px
    first, factor = first[wide], image[wide] / base[wide]
    size, angle = np.abs(factor), np.abs(np.angle(factor))
    fitting = (size < LARGEST_SCALE) & (size > 1 / LARGEST_SCALE) & (angle < np.deg2rad(LARGEST_TURN_DEG))
    factor, first = factor[fitting], first[fitting]
    return factor, b[first] - factor * a[first]


def _sample_pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of matches to try, the better half of the matches twice as often."""
    rng = np.random.default_rng(count)
    samples = SAMPLES * 4
    first = np.minimum(rng.integers(0, count, samples), rng.integers(0, count, samples))
    second = rng.integers(0, count, samples)
    different = first != second
    return first[different], second[different]


AUTO_SCALES = (1.0, 0.5, 2.0)


def parse_scales(text: str) -> tuple[float, ...]:
    """The scales of `--scales`: `auto`, or numbers separated by commas; scale 1 is always among them.

    Raises:
        UsageError: anything else.
    """
    if text == "auto":
        return AUTO_SCALES
    try:
        scales = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"scales '{text}': give auto, or numbers separated by commas, such as 1,0.5,2") from None
    return tuple(dict.fromkeys(scales if 1.0 in scales else (1.0, *scales)))


def order_of_scales(scales: Sequence[float], altitude_a: str | None, altitude_b: str | None) -> tuple[float, ...]:
    """Scale 1 first, then the one nearest to what the altitudes suggest, and so on; labels may be wrong.

    From twice the height things look half as large, so with a at 400 and b at 200, b is tried at half its size.
    """
    hint = 1.0
    if altitude_a and altitude_b and altitude_a.isdigit() and altitude_b.isdigit() and int(altitude_a) > 0:
        hint = max(int(altitude_b), 1) / int(altitude_a)
    return tuple(sorted(scales, key=lambda scale: (scale != 1.0, abs(math.log(scale / hint)))))


def sides(hypothesis: View) -> tuple[View, View]:
    """The views of a and of b that stand for a turn and scale of b, with the fewest encodings over many pairs.

    Only one photograph is ever turned, and only the other one made smaller, never larger: what b would be enlarged by,
    a is reduced by, and where b is reduced, a is turned the other way instead. So an image needs its rotations at full
    size and one upright view for each reduced scale, whatever side it is on.
    """
    turn, scale = hypothesis.rotation_deg, hypothesis.scale
    if scale > 1:
        return View(0.0, 1 / scale), View(turn, 1.0)
    if scale < 1:
        return View(-turn % 360.0, 1.0), View(0.0, scale)
    return View(), View(turn, 1.0)


Score = Callable[[View], int]


@dataclass(frozen=True)
class RankedViews:
    """Views tried with their scores, best first; ties keep the order of trying."""

    views: tuple[View, ...]
    scores: tuple[int, ...]

    @property
    def to_verify(self) -> tuple[View, ...]:
        """The views worth verifying: the best, and others that come near it."""
        enough = 0.5 * self.scores[0]
        kept = [view for view, score in zip(self.views, self.scores, strict=True) if score >= enough]
        return tuple(kept[:VERIFIED_VIEWS])


def rank_views(plan: SearchPlan, scales: Sequence[float], score: Score) -> RankedViews:
    """Scores views from coarse to fine.

    Args:
        plan: what may be tried.
        scales: the plan's scales in the order of trying.
        score: gives the score of a view; called once per view.
    """
    tried: dict[View, int] = {}

    def attempt(angle: float, scale: float) -> int:
        view = View(angle % 360.0, scale)
        if view not in tried:
            tried[view] = score(view)
        return tried[view]

    for scale in scales:
        coarse = plan.angles_deg[:: max(1, plan.rotations // 4)]
        for angle in coarse:
            attempt(angle, scale)
        if plan.rotations > 4:
            step = 360.0 / plan.rotations
            best = max(coarse, key=lambda angle: tried[View(angle % 360.0, scale)])
            for angle in (best - step, best + step):
                attempt(angle, scale)
            if not _is_clear(tried, step):
                for angle in plan.angles_deg:
                    attempt(angle, scale)
        if _is_clear(tried, 360.0 / plan.rotations):
            break
    ranked = sorted(tried.items(), key=lambda item: -item[1])
    return RankedViews(tuple(view for view, _ in ranked), tuple(value for _, value in ranked))


def _is_clear(tried: dict[View, int], step_deg: float) -> bool:
    """Whether one view leads every other that is not its neighbour in angle."""
    leader = max(tried, key=lambda view: tried[view])
    rest = [
        score
        for view, score in tried.items()
        if view.scale != leader.scale or _turn_between(view, leader) > max(step_deg, 45.0) + 1e-6
    ]
    return bool(rest) and tried[leader] >= 12 and tried[leader] >= CLEAR_LEAD * max(rest)


def _turn_between(first: View, second: View) -> float:
    turn = abs(first.rotation_deg - second.rotation_deg) % 360.0
    return min(turn, 360.0 - turn)
