"""What the library's `Matcher` is made of: photographs in memory or on disk, and what is found about two of them."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.candidate import Prepared
from engine.coordinates import project
from engine.dataset import ImageEntry, file_entry
from engine.encoding import MAX_TOKENS, EncodedImage, UprightPicture, encode_picture, read_upright
from engine.errors import ImageReadError, UsageError, WorkError
from engine.hooks import ModelKind
from engine.imaging import image_file_facts, read_image
from engine.loaded_graph import GraphRuntime
from engine.pairs import Pair
from engine.refine.local_features import Keypoints, find_keypoints
from engine.resampling import encoded_size, resize
from engine.results import MatchSettings, PairResult, Refinement, Verdict
from engine.selection import select_tokens
from engine.views import View

Photograph = str | Path | NDArray[np.uint8]
"""An image file, or pixels [H, W, 3] uint8 RGB."""

FILES_KEPT = 4
"""Photographs from files kept with their pixels and feature maps: one is often matched with several others."""


@dataclass(frozen=True, eq=False, repr=False)
class MatchedPair:
    """What was found about two photographs. Pixels are original ones, the centre of the top-left pixel at (0, 0).

    Attributes:
        points_a_px, points_b_px: [M, 2] float64; positions (x, y) of the matches, best match first.
        similarity: [M] float32; cosine similarity of each match.
        inliers: [M] bool; the matches that the geometry explains.
        matrix: [3, 3] float64 in homogeneous pixels, to be read as `kind` says; None where no model was found.
        kind: `POINT_MAP` (b ~ M a), `EPIPOLAR` (b^T M a = 0) or `NONE`.
        cosine: cosine similarity of the two global descriptors.
        rotation_deg, scale: the clockwise turn and the scale that b was matched in; 0 and 1 without a search.
        refinement: how the matrix was refined below a patch; None where it was not.
        verdict: whether both show the same place; None where none was given.
        time_ms: milliseconds by step, with `total`.
        details: everything, as result files are written from it.
    """

    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    similarity: NDArray[np.float32]
    inliers: NDArray[np.bool_]
    matrix: NDArray[np.float64] | None
    kind: ModelKind
    cosine: float
    rotation_deg: float
    scale: float
    refinement: Refinement | None
    verdict: Verdict | None
    time_ms: dict[str, float]
    details: PairResult

    @classmethod
    def of(cls, result: PairResult) -> "MatchedPair":
        """The public face of a result."""
        found = result.verification
        return cls(
            points_a_px=result.points_a_px,
            points_b_px=result.points_b_px,
            similarity=result.similarity,
            inliers=found.inliers,
            matrix=found.matrix,
            kind=found.kind,
            cosine=result.cosine,
            rotation_deg=result.view_b.rotation_deg,
            scale=result.view_b.scale,
            refinement=result.refinement,
            verdict=result.verdict,
            time_ms=result.time_ms,
            details=result,
        )

    def __repr__(self) -> str:
        """One line: counts, geometry and verdict, not the arrays."""
        found = f"{len(self)} matches, {self.inlier_count} inliers"
        geometry = self.details.verification.filter + ("" if self.matrix is not None else " not found")
        return f"<MatchedPair: {found}, {geometry}{'' if self.verdict is None else f', {self.verdict}'}>"

    def __len__(self) -> int:
        """The number of matches."""
        return len(self.similarity)

    @property
    def inlier_count(self) -> int:
        """The number of inliers."""
        return int(self.inliers.sum())

    def map_points(self, points_a_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where points [N, 2] (x, y) of a lie in b, [N, 2] float64 in original pixels.

        Raises:
            WorkError: no model was found, or the filter's model does not map points.
        """
        if self.matrix is None or self.kind is not ModelKind.POINT_MAP:
            name = self.details.verification.filter
            why = f"the filter '{name}' found none" if self.matrix is None else f"that of '{name}' maps points to lines"
            raise WorkError(f"there is no geometry that maps points of a to b: {why}")
        return project(self.matrix, np.asarray(points_a_px, np.float64).reshape(-1, 2))


class LoadedPhotograph:
    """A photograph, encoded at most once per view.

    Attributes:
        entry: its name; of pixels in memory, a name that is no file.
        is_file: whether it comes from a file.
    """

    def __init__(self, image: Photograph, side: str, runtime: GraphRuntime, image_size: int, decode: str) -> None:
        """Checks what was given; files are read when needed.

        Args:
            side: `a` or `b`, for messages.
            decode: how files of large JPEGs are decoded, see `engine.encoding.DECODES`.

        Raises:
            UsageError: neither a path nor an array [H, W, 3] uint8.
        """
        self._runtime = runtime
        self._image_size = image_size
        self._decode = decode
        self._pixels: NDArray[np.uint8] | None = None
        self._pictures: dict[float, UprightPicture] = {}
        self._encoded: dict[View, EncodedImage] = {}
        if isinstance(image, str | Path):
            self.entry = file_entry(Path(image).expanduser())
            self.is_file = True
        else:
            self._pixels = _checked_pixels(image, side)
            self.entry = ImageEntry(f"image {side}", f"image_{side}", Path(f"image {side} in memory"), None, None, None)
            self.is_file = False

    def encoded(self, view: View) -> EncodedImage:
        """The feature map of a view.

        Raises:
            ImageReadError: the file cannot be decoded, or the photograph is too large.
        """
        if view not in self._encoded:
            picture = self._picture(view.scale)
            self._encoded[view] = encode_picture(self.entry, picture, self._runtime, view.rotation_deg)
        return self._encoded[view]

    @cached_property
    def keypoints(self) -> Keypoints:
        """What refinement compares where patches agree on too little."""
        return find_keypoints(self.pixels())

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB in original pixels."""
        if self._pixels is None:
            self._pixels = read_image(self.entry.path)
        return self._pixels

    def _picture(self, scale: float) -> UprightPicture:
        if scale not in self._pictures:
            stride, kernel = self._runtime.graph.stride, self._runtime.graph.resampling
            if self.is_file:
                picture = read_upright(self.entry, self._image_size, scale, stride, self._decode, kernel)
            else:
                picture = self._in_memory(self.pixels(), scale, stride, kernel)
            self._pictures[scale] = picture
        return self._pictures[scale]

    def _in_memory(self, pixels: NDArray[np.uint8], scale: float, stride: int, kernel: str) -> UprightPicture:
        size = (pixels.shape[1], pixels.shape[0])
        target = encoded_size(size, max(1, round(self._image_size * scale)), stride)
        tokens = target[0] * target[1] // stride**2
        if tokens > MAX_TOKENS:
            raise ImageReadError(
                f"{self.entry.key}: {size[0]} x {size[1]} px would take {tokens} tokens, more than {MAX_TOKENS}: "
                "crop it, or choose a smaller image_size"
            )
        return UprightPicture(resize(pixels, target, kernel=kernel), size, 0, 0)


def _checked_pixels(image: object, side: str) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"image {side} is a {type(image).__name__}: give the path of an image file, or an array [H, W, 3] uint8 RGB"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(
            f"image {side} is an array {list(image.shape)} of {image.dtype}: give [H, W, 3] uint8 RGB "
            "(of a picture read by OpenCV, picture[..., ::-1])"
        )
    return np.ascontiguousarray(image)


class FileCache:
    """The photographs from files used last, known by path, size and time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int, int], LoadedPhotograph] = OrderedDict()

    def get(self, loaded: LoadedPhotograph) -> LoadedPhotograph:
        """The photograph as kept from before, where its file has not changed, else the one given.

        Raises:
            ImageReadError: the file is out of reach.
        """
        known = (loaded.entry.path, *image_file_facts(loaded.entry.path))
        kept = self._kept.setdefault(known, loaded)
        self._kept.move_to_end(known)
        while len(self._kept) > FILES_KEPT:
            self._kept.popitem(last=False)
        return kept


class TwoPhotographs:
    """A pair's `Source` (see `engine.pair_matching`) over two loaded photographs."""

    def __init__(
        self, a: LoadedPhotograph, b: LoadedPhotograph, settings: MatchSettings, runtime: GraphRuntime
    ) -> None:
        self.pair = Pair(a.entry, b.entry)
        self._sides = {"a": a, "b": b}
        self._settings = settings
        self._runtime = runtime

    def __call__(self, pair: Pair, side: str, view: View, /) -> Prepared:
        """The view of a side, reduced to the tokens that take part."""
        encoded = self._sides[side].encoded(view)
        selected = select_tokens(encoded.features, self._settings.keypoint_threshold, self._settings.max_features)
        return Prepared(encoded.image, selected, encoded.forward_ms)

    def photograph(self, pair: Pair, side: str, /) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB in original pixels."""
        return self._sides[side].pixels()

    def keypoints(self, pair: Pair, side: str, /) -> Keypoints:
        """The keypoints of a side."""
        return self._sides[side].keypoints

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture [H, W, 3] whose sides are multiples of the stride."""
        tokens, _ = self._runtime(picture[np.newaxis])
        norms = np.linalg.norm(tokens[0], axis=1, keepdims=True)
        return np.asarray(tokens[0] / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)
