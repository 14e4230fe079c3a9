"""What results are compared with: OpenCV's SIFT and ORB, and the earlier tool's procedure on the same backbone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix
from engine.dataset import ImageEntry
from engine.demo.orb import OrbMatcher
from engine.encoding import encode
from engine.imaging import read_image
from engine.loaded_graph import GraphRuntime
from engine.selection import select_tokens

Points = NDArray[np.float64]

MIN_MATCHES = 4
CONFIDENCE = 0.9999
ITERATIONS = 10_000
SIFT_RATIO = 0.8
"""Lowe's ratio: the nearest descriptor must be this much nearer than the second."""
SIFT_REPROJ_TH_PX = 3.0

EARLIER_MAX_FEATURES = 1000
EARLIER_KEYPOINT_THRESHOLD = 0.015
EARLIER_MATCH_THRESHOLD = 0.1
EARLIER_LINE_THRESHOLD = 0.2
EARLIER_REPROJ_TH_ENCODED_PX = 8.0
"""Half a patch. The earlier tool counts original pixels, where large photographs would have no inlier at all."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a reference finds about a pair.

    Attributes:
        matches, inliers: how many.
        points_a_px, points_b_px: [M, 2] matched points in original pixels; None where the method keeps none.
        inlier_mask: [M] bool likewise.
        matrix: [3, 3] map of pixels of a to pixels of b, or None.
        time_ms: features of both, matching, verifying; reading files is not counted.
    """

    matches: int
    inliers: int
    points_a_px: Points | None
    points_b_px: Points | None
    inlier_mask: NDArray[np.bool_] | None
    matrix: NDArray[np.float64] | None
    time_ms: float


class Reference(Protocol):
    """A method to compare with. Raises ImageReadError where a photograph cannot be read."""

    name: str

    def __call__(self, a: ImageEntry, b: ImageEntry, /) -> Found: ...


class SiftReference:
    """OpenCV's SIFT, exhaustive nearest neighbours, ratio 0.8, MAGSAC homography at 3 px.

    Defaults but for `enable_precise_upscale`: without it, OpenCV places every keypoint 0.25 px off,
    which between pictures turned by 180 degrees adds up to 0.7 px.
    """

    name = "SIFT"

    def __call__(self, a: ImageEntry, b: ImageEntry) -> Found:
        grey_a, grey_b = (cv2.cvtColor(read_image(entry.path), cv2.COLOR_RGB2GRAY) for entry in (a, b))
        started = time.perf_counter()
        sift = cv2.SIFT.create(enable_precise_upscale=True)
        keypoints_a, described_a = sift.detectAndCompute(grey_a, None)
        keypoints_b, described_b = sift.detectAndCompute(grey_b, None)
        kept = []
        if len(keypoints_a) and len(keypoints_b) > 1:
            both = cv2.BFMatcher(cv2.NORM_L2).knnMatch(described_a, described_b, k=2)
            kept = [first for first, second in both if first.distance < SIFT_RATIO * second.distance]
        points_a = np.array([keypoints_a[match.queryIdx].pt for match in kept], np.float64).reshape(-1, 2)
        points_b = np.array([keypoints_b[match.trainIdx].pt for match in kept], np.float64).reshape(-1, 2)
        matrix, mask = _homography(points_a, points_b, SIFT_REPROJ_TH_PX)
        spent_ms = (time.perf_counter() - started) * 1e3
        return Found(len(kept), int(mask.sum()), points_a, points_b, mask, matrix, spent_ms)


class OrbReference:
    """ORB as in the demonstration: 5,000 keypoints, cross-checked, MAGSAC homography at 3 px."""

    name = "ORB"

    def __call__(self, a: ImageEntry, b: ImageEntry) -> Found:
        found = OrbMatcher()(a.path, b.path)
        return Found(found.matches, found.inliers, None, None, None, found.matrix, found.seconds * 1e3)


class EarlierReference:
    """The earlier tool's procedure: mutual nearest tokens above thresholds, MAGSAC homography on patch centres.

    One view of each picture, no search of rotation or scale, no refinement. Written out here, apart from the pipeline,
    so that it stays what it is when the pipeline improves.
    """

    def __init__(self, runtime: GraphRuntime, image_size: int, name: str = "earlier procedure") -> None:
        """`image_size`: shorter side of the encoded image in pixels."""
        self.name = name
        self._runtime = runtime
        self._image_size = image_size

    def __call__(self, a: ImageEntry, b: ImageEntry) -> Found:
        first, second = (encode(entry, self._runtime, self._image_size) for entry in (a, b))
        started = time.perf_counter()
        chosen_a, chosen_b = (
            select_tokens(item.features, EARLIER_KEYPOINT_THRESHOLD, EARLIER_MAX_FEATURES) for item in (first, second)
        )
        similarity = chosen_a.descriptors.astype(np.float32) @ chosen_b.descriptors.astype(np.float32).T
        index_a, index_b = mutual_nearest(similarity)
        values = similarity[index_a, index_b]
        if len(values):
            kept = (values >= EARLIER_MATCH_THRESHOLD) & (values >= EARLIER_LINE_THRESHOLD * values.max())
            index_a, index_b = index_a[kept], index_b[kept]
        points_a, points_b = chosen_a.points_px[index_a], chosen_b.points_px[index_b]
        to_a = rescale_matrix(first.image.size, first.image.encoded_size)
        to_b = rescale_matrix(second.image.size, second.image.encoded_size)
        found, mask = _homography(project(to_a, points_a), project(to_b, points_b), EARLIER_REPROJ_TH_ENCODED_PX)
        matrix = None if found is None else np.asarray(np.linalg.inv(to_b) @ found @ to_a)
        spent_ms = first.forward_ms + second.forward_ms + (time.perf_counter() - started) * 1e3
        return Found(len(points_a), int(mask.sum()), points_a, points_b, mask, matrix, spent_ms)


def mutual_nearest(similarity: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of a similarity matrix [N, M] that are each other's largest; ties to the lowest index."""
    if not similarity.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    of_a, of_b = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(of_b[of_a] == np.arange(len(of_a)))
    return rows, of_a[rows]


def _homography(
    points_a: Points, points_b: Points, threshold_px: float
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
    none = np.zeros(len(points_a), bool)
    if len(points_a) < MIN_MATCHES:
        return None, none
    matrix, mask = cv2.findHomography(
        points_a, points_b, cv2.USAC_MAGSAC, threshold_px, maxIters=ITERATIONS, confidence=CONFIDENCE
    )
    if matrix is None or not np.isfinite(matrix).all():
        return None, none
    return np.asarray(matrix, np.float64), np.asarray(mask, np.uint8).ravel() > 0


def opencv_references() -> Sequence[Reference]:
    """The references that need no graph."""
    return SiftReference(), OrbReference()
