"""The yardstick: ORB keypoints, cross-checked, with a MAGSAC homography; what one would write with OpenCV alone."""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.imaging import read_image

FEATURES = 5000
REPROJ_TH_PX = 3.0
CONFIDENCE = 0.9999
ITERATIONS = 10_000
MIN_MATCHES = 4


@dataclass(frozen=True, eq=False)
class OrbFeatures:
    """Keypoints of one photograph: [N, 2] float64 positions in pixels, [N, 32] uint8 descriptors."""

    points_px: NDArray[np.float64]
    descriptors: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True, eq=False)
class OrbResult:
    """What ORB finds about a pair.

    Attributes:
        matrix: [3, 3] map of pixels of a to pixels of b, or None when none was found.
        seconds: finding and describing keypoints in both, matching and verifying; reading files is not counted.
    """

    matches: int
    inliers: int
    matrix: NDArray[np.float64] | None
    seconds: float


class OrbMatcher:
    """Matches photographs by ORB; each is described once, however many pairs it is in."""

    def __init__(self) -> None:
        self._features: dict[Path, OrbFeatures] = {}

    def __call__(self, path_a: Path, path_b: Path) -> OrbResult:
        """Matches two image files.

        Raises:
            ImageReadError: a file cannot be read.
        """
        a, b = self._described(path_a), self._described(path_b)
        started = time.perf_counter()
        if min(len(a.points_px), len(b.points_px)) < MIN_MATCHES:
            return OrbResult(0, 0, None, a.seconds + b.seconds)
        found = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a.descriptors, b.descriptors)
        matrix, inliers = None, 0
        if len(found) >= MIN_MATCHES:
            points_a_px = a.points_px[[match.queryIdx for match in found]]
            points_b_px = b.points_px[[match.trainIdx for match in found]]
            matrix, mask = cv2.findHomography(
                points_a_px, points_b_px, cv2.USAC_MAGSAC, REPROJ_TH_PX, maxIters=ITERATIONS, confidence=CONFIDENCE
            )
            inliers = int(mask.sum()) if matrix is not None else 0
        seconds = a.seconds + b.seconds + time.perf_counter() - started
        return OrbResult(len(found), inliers, None if matrix is None else np.asarray(matrix, np.float64), seconds)

    def _described(self, path: Path) -> OrbFeatures:
        if path not in self._features:
            grey = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
            started = time.perf_counter()
            keypoints, descriptors = cv2.ORB.create(FEATURES).detectAndCompute(grey, None)
            points = np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)
            described = np.empty((0, 32), np.uint8) if descriptors is None else np.asarray(descriptors, np.uint8)
            self._features[path] = OrbFeatures(points, described, time.perf_counter() - started)
        return self._features[path]
