"""The pipeline: photographs are encoded once, pairs matched, matches verified, results handed on.

pairs -> features of both (encoded ahead, kept within a budget) -> matcher -> pruning -> filter -> result

Where the view of b is searched, pairs go one by one (see `engine.pair_matching`); else in blocks of photographs, and
verification runs in processes beside (see `engine.block_run`).
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.candidate import Prepared
from engine.dataset import ImageEntry
from engine.errors import ImageReadError
from engine.events import emit
from engine.feature_cache import FeatureCache
from engine.pair_matching import PairMatcher, Procedure
from engine.pairs import Pair
from engine.refine.local_features import Keypoints, find_keypoints
from engine.results import PairResult
from engine.stage_times import StageTimes
from engine.views import View

KEYPOINTS_KEPT = 128
"""Photographs whose keypoints stay in memory, most of a megabyte each."""


class Pictures(Protocol):
    """What refinement needs besides feature maps."""

    def photograph(self, entry: ImageEntry, /) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB in original pixels."""
        ...

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture [H, W, 3] whose sides are multiples of the stride."""
        ...


@dataclass(frozen=True)
class FailedImage:
    """A photograph that could not be read, and why. Its pairs are left out."""

    entry: ImageEntry
    reason: str


@dataclass
class Outcome:
    """What became of a run, filled while it goes on."""

    matched: int = 0
    failed: dict[str, FailedImage] = field(default_factory=dict)
    skipped_pairs: int = 0

    def fail(self, entry: ImageEntry, error: ImageReadError) -> None:
        """Notes a photograph that cannot be read; the first reason counts."""
        if entry.key not in self.failed:
            emit("image_failed", key=entry.key, path=entry.path, reason=str(error))
            self.failed[entry.key] = FailedImage(entry, str(error))


class FeatureSource:
    """What a pair's photographs hold: views from a cache, pixels and fresh tokens from the encoder."""

    def __init__(self, cache: FeatureCache, pictures: Pictures) -> None:
        self._cache = cache
        self._pictures = pictures
        self._keypoints: OrderedDict[str, Keypoints] = OrderedDict()

    def __call__(self, pair: Pair, side: str, view: View, /) -> Prepared:
        """A view of one side, `a` or `b`, of a pair.

        Raises:
            ImageReadError: the file cannot be decoded; the same error each time.
        """
        return self._cache(pair.a if side == "a" else pair.b, view)

    def photograph(self, pair: Pair, side: str, /) -> NDArray[np.uint8]:
        """The photograph of one side, [H, W, 3] uint8 RGB in original pixels."""
        return self._pictures.photograph(pair.a if side == "a" else pair.b)

    def keypoints(self, pair: Pair, side: str, /) -> Keypoints:
        """The keypoints of one side; those of the last photographs stay in memory."""
        entry = pair.a if side == "a" else pair.b
        if entry.key not in self._keypoints:
            self._keypoints[entry.key] = find_keypoints(self._pictures.photograph(entry))
            while len(self._keypoints) > KEYPOINTS_KEPT:
                self._keypoints.popitem(last=False)
        self._keypoints.move_to_end(entry.key)
        return self._keypoints[entry.key]

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture."""
        return self._pictures.tokens(picture)


def match_one_by_one(
    pairs: Sequence[Pair],
    procedure: Procedure,
    cache: FeatureCache,
    source: FeatureSource,
    outcome: Outcome,
    times: StageTimes,
) -> Generator[tuple[int, PairResult], None, None]:
    """Matches every pair by itself; yields its number and result, in the order of the pairs.

    A photograph that cannot be read is recorded in `outcome` and its pairs are skipped.
    """
    match = PairMatcher(procedure)
    for number, pair in enumerate(pairs):
        try:
            result = match(pair, source)
        except ImageReadError as error:
            outcome.fail(pair.a if pair.a.key in cache.unreadable else pair.b, error)
            outcome.skipped_pairs += 1
            continue
        for stage in ("match", "verify", "refine"):
            if stage in result.time_ms:
                times.add(stage, result.time_ms[stage] / 1e3)
        yield number, result
        outcome.matched += 1
