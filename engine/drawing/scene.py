"""What a picture of a pair shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.features import FeatureMap


@dataclass(frozen=True, eq=False)
class PairScene:
    """What a picture shows.

    Attributes:
        image_a, image_b: [H, W, 3] uint8 RGB.
        key_a, key_b: image keys; `file_a`, `file_b`: names of the files.
        subtitle: what it was found with, one line.
        points_a_px, points_b_px: [M, 2] float64; match positions (x, y) in original pixels.
        similarity: [M] float; cosine similarity of each match.
        inliers: [M] bool, or None when the matches were not verified.
        point_map: [3, 3] from pixels of a to pixels of b, or None when there is no such model.
        model_found: whether verification found a model; False is said on the picture.
        residuals_px: [M] distance of each match from the model in pixels of b, or None.
    """

    image_a: NDArray[np.uint8]
    image_b: NDArray[np.uint8]
    key_a: str
    key_b: str
    file_a: str
    file_b: str
    subtitle: str
    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    similarity: NDArray[np.floating]
    inliers: NDArray[np.bool_] | None
    point_map: NDArray[np.float64] | None = None
    model_found: bool = True
    residuals_px: NDArray[np.float64] | None = None

    @property
    def size_a(self) -> tuple[int, int]:
        """(width, height) of a in pixels."""
        return self.image_a.shape[1], self.image_a.shape[0]

    @property
    def size_b(self) -> tuple[int, int]:
        """(width, height) of b in pixels."""
        return self.image_b.shape[1], self.image_b.shape[0]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """[M] bool: inliers, or every match when none was verified."""
        return np.ones(len(self.similarity), bool) if self.inliers is None else np.asarray(self.inliers, bool)

    @property
    def similarity_range(self) -> tuple[float, float] | None:
        """Ends of the colour scale: smallest and greatest similarity of the inliers (of all matches where none is)."""
        if not len(self.similarity):
            return None
        shown = self.similarity[self.kept] if self.kept.any() else self.similarity
        return float(np.min(shown)), float(np.max(shown))

    @property
    def median_error_px(self) -> float | None:
        """Median residual of the inliers, in pixels of b."""
        if self.residuals_px is None or self.inliers is None or not self.inliers.any():
            return None
        return float(np.median(self.residuals_px[self.inliers]))


@dataclass(frozen=True, eq=False)
class TokenScene:
    """What a picture of tokens shows besides.

    Attributes:
        a: full feature map of photograph a, upright.
        b: full feature map of b, in the view that was matched.
        keypoint_threshold: smallest token norm, min-max scaled within its photograph, that took part in matching.
        point_px: (x, y) in original pixels of a, whose patch is compared with all of b; None where none is asked for.
    """

    a: FeatureMap
    b: FeatureMap
    keypoint_threshold: float
    point_px: tuple[float, float] | None = None
