"""A stored run as converters see it: images with their keypoints, and pairs as indices into them.

An image's keypoints are the centres of all tokens of its upright grid, so that a match's token index is its keypoint
index. Points that lie beside the centres, as refined ones and those of a turned view do, are keypoints of their own
behind the tokens'.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import token_centres_px
from engine.encoding import preprocessing_word
from engine.errors import ResultFileError, WorkError
from engine.features import FeatureMap
from engine.resampling import encoded_size
from engine.results import ImageRef, MatchSettings, PairResult
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.matches_h5 import MatchStore
from models.catalogue import backbone

Points = NDArray[np.float64]
PATCHES, REFINED = "patches", "refined"
MATCHES = (PATCHES, REFINED)


@dataclass(frozen=True, eq=False)
class StoredPair:
    """A pair, and its matches as keypoints.

    Attributes:
        name_a, name_b: names of the images in the stores.
        keypoint_a, keypoint_b: [M] int32; the matches, best first, as rows of the images' keypoints.
        result: everything else about it.
    """

    name_a: str
    name_b: str
    keypoint_a: NDArray[np.int32]
    keypoint_b: NDArray[np.int32]
    result: PairResult


class Source:
    """A stored run.

    Attributes:
        images: image by name, as its file was when last matched; by name in order.
        outdated_pairs: pairs left out, as one of their photographs was replaced and matched anew in other pairs.
    """

    def __init__(self, folder: Path, settings: MatchSettings, embed_root: Path, matches: str = PATCHES) -> None:
        """Reads the run through once.

        Args:
            folder: of the run's match shards.
            embed_root: `EMBED_ROOT`, where the run's feature maps may be.
            matches: which matches are given, one of `MATCHES`.

        Raises:
            ResultFileError: a shard is damaged, so that pairs would be missing.
        """
        self.settings = settings
        self._matches = matches
        self._stride = backbone(settings.weights).stride
        self._store = MatchStore(folder)
        self._refined: dict[str, dict[tuple[float, float], int]] = {}
        found: dict[str, ImageRef] = {}
        self.outdated_pairs = 0
        for name_a, name_b, result in self._results():
            found[name_a], found[name_b] = result.image_a, result.image_b
        self.images = {name: found[name] for name in sorted(found)}
        for name_a, name_b, result in self._results():
            if not self._is_current(name_a, name_b, result):
                self.outdated_pairs += 1
                continue
            self._collect_refined(name_a, result.token_a, result.points_a_px)
            self._collect_refined(name_b, result.token_b, result.points_b_px)
        word = preprocessing_word(settings.decode, settings.resampling)
        identity = FeatureIdentity(settings.graph_sha256, settings.image_size, word)
        self._features = FeatureStore(embed_root, settings.weights, identity)

    @property
    def feature_folder(self) -> Path:
        """Where the run's feature maps are, if they were stored."""
        return self._features.folder

    def has_features(self) -> bool:
        """Whether the feature map of every image, as it was when matched, is stored."""
        return all(self._features.has(name, FileFacts.of(image)) for name, image in self.images.items())

    def features(self, name: str) -> FeatureMap:
        """The stored feature map of an image.

        Raises:
            WorkError: it is not stored, or damaged, or not of the file that was matched.
        """
        found = self._features.get(name, FileFacts.of(self.images[name]))
        if found is None:
            reason = "; ".join(self._features.problems) or f"not in {self._features.folder}"
            raise WorkError(
                f"the feature map of {name}, as it was when matched, is not stored ({reason}). Run 'engine embed "
                f"-w {self.settings.weights} -i {self.settings.image_size}', or convert with --keypoints-only"
            )
        return found

    def grid(self, name: str) -> tuple[int, int]:
        """(rows, cols) of an image's upright view."""
        size = self.images[name].size
        width, height = encoded_size(size, self.settings.image_size, self._stride)
        return height // self._stride, width // self._stride

    def tokens(self, name: str) -> NDArray[np.int32]:
        """[N] int32: the token of the upright grid that each keypoint of an image lies in."""
        rows, cols = self.grid(name)
        return np.concatenate(
            [np.arange(rows * cols, dtype=np.int32), self._tokens_at(self.images[name], self._refined_points(name))]
        )

    def keypoints_px(self, name: str) -> Points:
        """[N, 2] float64: keypoints (x, y) of an image in original pixels, the first pixel's centre at (0, 0)."""
        rows, cols = self.grid(name)
        centres = token_centres_px(np.arange(rows * cols, dtype=np.int32), (rows, cols), self.images[name].size)
        return np.concatenate([centres, self._refined_points(name)])

    def pairs(self) -> Iterator[StoredPair]:
        """The pairs whose photographs are the latest, in the order they are stored.

        Raises:
            ResultFileError: a shard turns out to be damaged.
        """
        for name_a, name_b, result in self._results():
            if self._is_current(name_a, name_b, result):
                keypoint_a = self._keypoints_of(name_a, result.token_a, result.points_a_px)
                keypoint_b = self._keypoints_of(name_b, result.token_b, result.points_b_px)
                yield StoredPair(name_a, name_b, keypoint_a, keypoint_b, result)

    def _results(self) -> Iterator[tuple[str, str, PairResult]]:
        for name_a, name_b in self._store.pairs():
            result = self._store.get(name_a, name_b)
            self._check()
            if result is not None:
                yield name_a, name_b, self._refined_result(result) if self._matches == REFINED else result
        self._check()

    def _refined_result(self, result: PairResult) -> PairResult:
        """The result with the matches of its last step of refinement, which are inliers all; others as they are.

        Their similarity is 1 / (1 + u), u being a match's uncertainty in original pixels of b: there are no tokens to
        compare, and readers expect that more is better.
        """
        refined = result.refinement
        if refined is None or not len(refined.points_a_px):
            return result
        count = len(refined.points_a_px)
        known = len(refined.uncertainty_px) == count
        return replace(
            result,
            token_a=self._tokens_at(result.image_a, refined.points_a_px),
            token_b=self._tokens_at(result.image_b, refined.points_b_px),
            points_a_px=refined.points_a_px,
            points_b_px=refined.points_b_px,
            similarity=(1 / (1 + (refined.uncertainty_px if known else np.zeros(count)))).astype(np.float32),
            verification=replace(result.verification, inliers=np.ones(count, bool)),
        )

    def _tokens_at(self, image: ImageRef, points: Points) -> NDArray[np.int32]:
        """[N] int32: the token of the upright grid that each point [N, 2] of an image lies in."""
        width, height = encoded_size(image.size, self.settings.image_size, self._stride)
        rows, cols = height // self._stride, width // self._stride
        col = np.clip((points[:, 0] + 0.5) * cols / image.size[0], 0, cols - 1).astype(np.int32)
        row = np.clip((points[:, 1] + 0.5) * rows / image.size[1], 0, rows - 1).astype(np.int32)
        return np.asarray(row * cols + col, np.int32)

    def _check(self) -> None:
        if self._store.problems:
            raise ResultFileError(
                f"{self._store.problems[0]}. Converted as it is, pairs would be missing: match them again first"
            )

    def _is_current(self, name_a: str, name_b: str, result: PairResult) -> bool:
        return _same_file(self.images[name_a], result.image_a) and _same_file(self.images[name_b], result.image_b)

    def _refined_points(self, name: str) -> Points:
        return np.asarray(list(self._refined.get(name, {})), np.float64).reshape(-1, 2)

    def _collect_refined(self, name: str, tokens: NDArray[np.int32], points: Points) -> None:
        moved = self._moved(name, tokens, points)
        if not moved.any():
            return
        known = self._refined.setdefault(name, {})
        rows, cols = self.grid(name)
        for x, y in points[moved].tolist():
            known.setdefault((x, y), rows * cols + len(known))

    def _keypoints_of(self, name: str, tokens: NDArray[np.int32], points: Points) -> NDArray[np.int32]:
        keypoints = tokens.astype(np.int32)
        for at in np.flatnonzero(self._moved(name, tokens, points)):
            x, y = points[at].tolist()
            keypoints[at] = self._refined[name][x, y]
        return keypoints

    def _moved(self, name: str, tokens: NDArray[np.int32], points: Points) -> NDArray[np.bool_]:
        """[M] bool: which matches lie beside their token's centre."""
        rows, cols = self.grid(name)
        centres = token_centres_px(tokens, (rows, cols), self.images[name].size)
        return np.asarray((tokens >= rows * cols) | np.any(centres != points, axis=1))


def _same_file(one: ImageRef, other: ImageRef) -> bool:
    return FileFacts.of(one).same_content(FileFacts.of(other))
