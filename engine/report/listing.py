"""All pairs of a run in a few columns, its photographs in the order of the map, and which pairs are shown in detail."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.hooks import ModelKind
from engine.keys import looks_like_selector, parse_selector
from engine.report.source import SourcePair
from engine.results import ImageRef, PairResult
from engine.verification import residuals_px


@dataclass(frozen=True)
class ListedImage:
    """A photograph of the run and the group it belongs to: its altitude, and the flight where keys name one."""

    ref: ImageRef
    group: str


@dataclass(frozen=True, eq=False)
class Listing:
    """The pairs of a run, in the order of the source.

    Attributes:
        images: photographs, highest altitude first, then by flight and frame.
        a, b: [P] int32; rows of `images`.
        matches, inliers: [P] int32.
        has_model: [P] bool; also true where the filter finds no geometry but keeps everything.
        error_px: [P] float32; median reprojection error of the inliers in original pixels of b, or NaN.
        cosine: [P] float32; of the global descriptors.
        same_place: [P] float32; the verdict's probability that both show one place, NaN where there is no verdict.
        forward_ms: milliseconds of each encoding that took place.
        total_ms: milliseconds of each pair.
    """

    images: list[ListedImage]
    a: NDArray[np.int32]
    b: NDArray[np.int32]
    matches: NDArray[np.int32]
    inliers: NDArray[np.int32]
    has_model: NDArray[np.bool_]
    error_px: NDArray[np.float32]
    cosine: NDArray[np.float32]
    same_place: NDArray[np.float32]
    forward_ms: list[float]
    total_ms: list[float]

    def __len__(self) -> int:
        return len(self.a)

    def images_of(self, rows: Iterable[int]) -> list[int]:
        """Rows of the images that take part in these pairs, each once."""
        return sorted({int(column[row]) for row in rows for column in (self.a, self.b)})


def list_pairs(pairs: Iterable[SourcePair]) -> Listing:
    """Goes through the pairs once and keeps what the map and the table need."""
    rows: dict[str, int] = {}
    refs: list[ImageRef] = []
    numbers: list[tuple[int, int, int, int, bool, float, float]] = []
    same_place, forward_ms, total_ms = [], [], []
    for pair in pairs:
        result = pair.result
        for image in (result.image_a, result.image_b):
            if str(image.path) not in rows:
                rows[str(image.path)] = len(refs)
                refs.append(image)
        ends = rows[str(result.image_a.path)], rows[str(result.image_b.path)]
        found = result.verification
        with_model = found.matrix is not None or found.kind is ModelKind.NONE
        numbers.append(
            (*ends, len(result.similarity), found.inlier_count, with_model, median_error_px(result), result.cosine)
        )
        same_place.append(float("nan") if result.verdict is None else result.verdict.probability)
        forward_ms += [ms for name in ("forward_a", "forward_b") if (ms := result.time_ms.get(name, 0.0)) > 0]
        total_ms.append(result.time_ms.get("total", 0.0))
    images = [ListedImage(ref, group_of(ref.key)) for ref in refs]
    order = sorted(range(len(images)), key=lambda row: _place(images[row]))
    place = np.empty(len(images), np.int32)
    place[order] = np.arange(len(images), dtype=np.int32)
    columns = list(zip(*numbers, strict=True)) if numbers else [()] * 7
    return Listing(
        images=[images[row] for row in order],
        a=place[np.asarray(columns[0], np.int32)],
        b=place[np.asarray(columns[1], np.int32)],
        matches=np.asarray(columns[2], np.int32),
        inliers=np.asarray(columns[3], np.int32),
        has_model=np.asarray(columns[4], np.bool_),
        error_px=np.asarray(columns[5], np.float32),
        cosine=np.asarray(columns[6], np.float32),
        same_place=np.asarray(same_place, np.float32),
        forward_ms=forward_ms,
        total_ms=total_ms,
    )


def median_error_px(result: PairResult) -> float:
    """Median reprojection error of the inliers in original pixels of b; NaN where there is no model."""
    residuals = residuals_px(result.verification, result.points_a_px, result.points_b_px)
    kept = residuals[result.verification.inliers] if residuals is not None else np.empty(0)
    return float(np.median(kept)) if len(kept) else float("nan")


def group_of(key: str) -> str:
    """`ALT`, or `ID:ALT` of a key that names its flight; the folder of an image given by path."""
    return key.rpartition(".")[0] if looks_like_selector(key) else key.rpartition("/")[0]


def choose_detailed(listing: Listing, limit: int) -> list[int]:
    """Rows of the pairs shown in detail: the best of each photograph first, then the best of the others.

    Best are those of one place by their verdict, and among these, and among those without it, those of most inliers.

    Returns:
        at most `limit` rows, best first.
    """
    ranked = np.lexsort((-listing.matches, -listing.inliers, -(listing.same_place >= 0.5).astype(np.int8)))
    met: set[int] = set()
    firsts: list[int] = []
    others: list[int] = []
    for row in ranked.tolist():
        ends = {int(listing.a[row]), int(listing.b[row])}
        (others if ends <= met else firsts).append(row)
        met |= ends
    chosen = (firsts + others)[:limit]
    place = np.empty(len(listing), np.int64)
    place[ranked] = np.arange(len(listing))
    return sorted(chosen, key=lambda row: int(place[row]))


def _place(image: ListedImage) -> tuple[int, int, str, int, str]:
    key = image.ref.key
    if looks_like_selector(key):
        parsed = parse_selector(key)
        return 0, -parsed.altitude, parsed.flight or "", parsed.frame or 0, key
    return 1, 0, image.group, 0, key
