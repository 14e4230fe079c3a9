"""A pair before its geometry is checked: both photographs, each in one view, and their matches."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.features import FeatureMap, Matches
from engine.refine.softargmax import soft_matches
from engine.refine.start import placed_matches, starting_maps
from engine.refine.steps import Soft
from engine.results import ImageRef
from engine.views import View

PATCH_SHARE = 0.75
"""Tolerance of the view search in strides: positions are rounded to tokens in both photographs."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An encoded view of a photograph, reduced to the tokens that take part in matching."""

    image: ImageRef
    features: FeatureMap
    forward_ms: float

    @cached_property
    def points_px(self) -> NDArray[np.float64]:
        """[N, 2] centre of each token in original pixels, worked out once for all pairs."""
        return self.features.points_px

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        features = self.features
        arrays = (features.descriptors, features.norms, features.token_index, features.global_descriptor)
        return sum(array.nbytes for array in arrays) + 16 * len(features)


@dataclass(frozen=True, eq=False)
class Candidate:
    """Both photographs in one view each, and their matches."""

    a: Prepared
    b: Prepared
    view_a: View
    view_b: View
    matches: Matches

    @property
    def placed(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """The matches as the search compares them (see `placed_matches`)."""
        scales = (self.view_a.scale, self.view_b.scale)
        return placed_matches(self.a.features, self.b.features, self.matches, scales, PATCH_SHARE)

    @property
    def starts(self) -> list[NDArray[np.float64]]:
        """Maps that refinement may start from."""
        scales = (self.view_a.scale, self.view_b.scale)
        return starting_maps(self.a.features, self.b.features, self.matches, scales, PATCH_SHARE)

    @property
    def described(self) -> dict[str, Any]:
        """What a result says of the photographs and matches: fields of `PairResult`."""
        a, b, matches = self.a, self.b, self.matches
        return {
            "image_a": a.image,
            "image_b": b.image,
            "cosine": float(np.dot(a.features.global_descriptor, b.features.global_descriptor)),
            "token_a": a.features.token_index[matches.index_a],
            "token_b": b.features.token_index[matches.index_b],
            "points_a_px": a.points_px[matches.index_a],
            "points_b_px": b.points_px[matches.index_b],
            "similarity": matches.similarity,
            "selected_a": len(a.features),
            "selected_b": len(b.features),
            "view_a": self.view_a,
            "view_b": self.view_b,
        }

    @property
    def soft(self) -> Soft:
        """The matches placed to a fraction of a patch."""
        image = self.b.image
        patch_px = stride_of(self.b) * float(np.sqrt(np.prod(image.size) / np.prod(image.encoded_size)))
        return Soft(soft_matches(self.a.features, self.b.features, self.matches), 0.5 * patch_px)


def stride_of(prepared: Prepared) -> int:
    """Pixels that a token is wide, in the encoded image."""
    features = prepared.features
    return (features.canvas_size or features.encoded_size)[0] // features.grid[1]
