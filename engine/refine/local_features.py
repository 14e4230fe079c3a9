"""A hypothesis from local features, for pairs whose patches agree on too little: SIFT keypoints over the photographs.

D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, with the square-rooted descriptors of
R. Arandjelovic and A. Zisserman, CVPR 2012. They bear any change of scale, which the patches of small backbones do not,
but no change of season; what they propose is judged like any other hypothesis.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.refine.photograph import Matrix, Photograph

_LONGER_PX = 900
_KEYPOINTS = 2500
_RATIO = 0.8
_THRESHOLD_PX = 3.0
MIN_INLIERS = 12


def local_hypothesis(a: Photograph, b: Photograph) -> Matrix | None:
    """The homography [3, 3] from original pixels of a to b that keypoints agree on; None where too few do."""
    points_a, words_a = _features(a)
    points_b, words_b = _features(b)
    if len(words_a) < MIN_INLIERS or len(words_b) < MIN_INLIERS:
        return None
    similarity = words_a @ words_b.T
    best = similarity.argmax(axis=1)
    rows = np.arange(len(words_a))
    first = similarity[rows, best].copy()
    similarity[rows, best] = -1.0
    second = similarity.max(axis=1)
    # The ratio of distances between unit vectors: |p - q|^2 = 2 - 2 p.q
    sure = np.flatnonzero(2 - 2 * first < _RATIO**2 * np.maximum(2 - 2 * second, 1e-9))
    if len(sure) < MIN_INLIERS:
        return None
    step_b = max(max(b.size) / _LONGER_PX, 1.0)
    found, mask = cv2.findHomography(
        points_a[sure], points_b[best[sure]], cv2.USAC_MAGSAC, _THRESHOLD_PX * step_b, maxIters=5000, confidence=0.9999
    )
    if found is None or mask is None or int(mask.sum()) < MIN_INLIERS or not np.isfinite(found).all():
        return None
    return np.asarray(found, np.float64)


def _features(photograph: Photograph) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Positions [K, 2] in original pixels and square-rooted descriptors [K, 128] of unit length."""
    shrink = max(max(photograph.size) / _LONGER_PX, 1.0)
    size = (max(16, round(photograph.size[0] / shrink)), max(16, round(photograph.size[1] / shrink)))
    to_photograph = rescale_matrix(size, photograph.size)
    grey = cv2.cvtColor(photograph.sample(to_photograph, size), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT_create(nfeatures=_KEYPOINTS, enable_precise_upscale=True)  # type: ignore[attr-defined]
    keypoints, words = sift.detectAndCompute(grey, None)
    if words is None:
        return np.empty((0, 2)), np.empty((0, 128), np.float32)
    points = np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)
    scale, shift = to_photograph[[0, 1], [0, 1]], to_photograph[:2, 2]
    total = np.maximum(words.sum(axis=1, keepdims=True), 1e-9)
    return points * scale + shift, np.sqrt(words / total).astype(np.float32)
