"""A point map proposed by local features, for pairs whose patches agree on too little: SIFT keypoints.

D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, with the square-rooted descriptors of
R. Arandjelovic and A. Zisserman, CVPR 2012. They bear any change of scale, which the patches of small backbones do not,
but no change of season; what they propose is judged like any other start of refinement. A photograph's keypoints are
found once; comparing two photographs takes a few milliseconds.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.refine.photograph import Matrix, Photograph, Pixels

_LONGER_PX = 900
_KEYPOINTS = 2000
"""Half of them the strongest, half the largest of the others, which a coarser photograph of the place still shows."""
_RATIO = 0.8
_THRESHOLD_PX = 3.0
MIN_INLIERS = 12
"""Photographs of different places seldom reach so many by chance; structure turns down those that do."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """What is found on a photograph that is reduced to 900 pixels at most.

    Attributes:
        points_px: [K, 2] positions (x, y) in original pixels.
        words: [K, 128] float32, square-rooted descriptors of unit length.
        pixel_px: side of a pixel of the reduced photograph in original pixels.
    """

    points_px: NDArray[np.float64]
    words: NDArray[np.float32]
    pixel_px: float


def find_keypoints(pixels: Pixels) -> Keypoints:
    """The keypoints of a photograph [H, W, 3] uint8 RGB."""
    photograph = Photograph(pixels)
    shrink = max(max(photograph.size) / _LONGER_PX, 1.0)
    size = (max(16, round(photograph.size[0] / shrink)), max(16, round(photograph.size[1] / shrink)))
    to_photograph = rescale_matrix(size, photograph.size)
    grey = cv2.cvtColor(photograph.sample(to_photograph, size), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT_create(enable_precise_upscale=True)  # type: ignore[attr-defined]
    keypoints, words = sift.detectAndCompute(grey, None)
    if words is None:
        return Keypoints(np.empty((0, 2)), np.empty((0, 128), np.float32), shrink)
    kept = _chosen(np.array([point.response for point in keypoints]), np.array([point.size for point in keypoints]))
    points = np.array([keypoints[index].pt for index in kept], np.float64).reshape(-1, 2)
    words = words[kept]
    scale, shift = to_photograph[[0, 1], [0, 1]], to_photograph[:2, 2]
    total = np.maximum(words.sum(axis=1, keepdims=True), 1e-9)
    return Keypoints(points * scale + shift, np.sqrt(words / total).astype(np.float32), shrink)


def _chosen(strength: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of the keypoints kept."""
    by_strength = np.argsort(-strength, kind="stable")
    strongest, others = by_strength[: _KEYPOINTS // 2], by_strength[_KEYPOINTS // 2 :]
    largest = others[np.argsort(-size[others], kind="stable")][: _KEYPOINTS // 2]
    return np.concatenate([strongest, largest])


def keypoint_map(a: Keypoints, b: Keypoints) -> Matrix | None:
    """The homography [3, 3] from original pixels of a to b that keypoints agree on; None where too few do."""
    if len(a.words) < MIN_INLIERS or len(b.words) < MIN_INLIERS:
        return None
    similarity = a.words @ b.words.T
    best = similarity.argmax(axis=1)
    rows = np.arange(len(a.words))
    first = similarity[rows, best].copy()
    similarity[rows, best] = -1.0
    second = similarity.max(axis=1)
    # The ratio of distances between unit vectors: |p - q|^2 = 2 - 2 p.q
    sure = np.flatnonzero(2 - 2 * first < _RATIO**2 * np.maximum(2 - 2 * second, 1e-9))
    if len(sure) < MIN_INLIERS:
        return None
    threshold_px = _THRESHOLD_PX * b.pixel_px
    found, mask = cv2.findHomography(
        a.points_px[sure], b.points_px[best[sure]], cv2.USAC_MAGSAC, threshold_px, maxIters=5000, confidence=0.9999
    )
    if found is None or mask is None or int(mask.sum()) < MIN_INLIERS or not np.isfinite(found).all():
        return None
    return np.asarray(found, np.float64)
