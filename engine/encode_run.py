"""The first stage of a run: all photographs encoded, ahead of the pairs that need them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.dataset import ImageEntry
from engine.encoding import EncodedImage
from engine.errors import DataSetError, ImageReadError
from engine.events import emit
from engine.feature_cache import FeatureCache
from engine.photograph_encoder import PhotographEncoder
from engine.pipeline import Outcome
from engine.progress import progress_bar, say
from engine.providers import short_name
from engine.result_writer import require_writable


class EncodeAhead:
    """Encodes photographs into a cache; maps beyond its budget go to the feature store, so that none is made twice."""

    def __init__(
        self, encoder: PhotographEncoder, cache: FeatureCache, outcome: Outcome, views: int, overflow: Path
    ) -> None:
        """Begins with nothing encoded.

        Args:
            outcome: takes photographs that cannot be read.
            views: views of a photograph that may be looked at.
            overflow: root of the feature store, for maps beyond the budget.
        """
        self._encoder, self._cache, self._outcome = encoder, cache, outcome
        self._views, self._overflow = views, overflow
        self._done: set[str] = set()

    def __call__(self, entries: Sequence[ImageEntry]) -> None:
        """Encodes those photographs that were not encoded yet.

        Raises:
            ProviderError: the graph failed; what the store had taken is kept.
            WriteError: the store cannot be written.
        """
        missing = [entry for entry in entries if entry.key not in self._done]
        for entry, encoded in self._shown(missing):
            self._done.add(entry.key)
            if isinstance(encoded, ImageReadError):
                self._outcome.fail(entry, encoded)
                self._cache.unreadable[entry.key] = encoded
                continue
            emit("image_encoded", key=entry.key, path=entry.path)
            self._make_room(self._cache.add(entry, encoded).bytes * len(entries) * self._views, encoded)

    def store_all(self) -> None:
        """Stores every map from now on, for a run that a kill must not cost all encoding.

        Raises:
            WriteError: the store cannot be written.
        """
        if not self._encoder.stores:
            require_writable(self._overflow)
            self._encoder.store_in(self._overflow)
            say(f"feature maps are stored below {self._overflow}, so that a stopped run can go on with them")

    def global_descriptors(self, entries: Sequence[ImageEntry]) -> NDArray[np.float32]:
        """[n, D] float32 global descriptors, L2-normalised; not-a-number for a photograph that cannot be read.

        Raises:
            DataSetError: fewer than two can be read; the message gives the first reason.
        """
        self(entries)
        rows: list[NDArray[np.float32] | None] = []
        for entry in entries:
            try:
                rows.append(self._cache(entry).features.global_descriptor)
            except ImageReadError:
                rows.append(None)
        readable = sum(row is not None for row in rows)
        if readable < 2 and self._cache.unreadable:
            reason = next(iter(self._cache.unreadable.values()))
            raise DataSetError(
                f"only {readable} of {len(rows)} photographs can be read, so none can be paired: {reason}"
            )
        width = next((len(row) for row in rows if row is not None), 1)
        return np.stack([np.full(width, np.nan, np.float32) if row is None else row for row in rows])

    def _shown(self, entries: Sequence[ImageEntry]) -> Iterator[tuple[ImageEntry, EncodedImage | ImageReadError]]:
        what = f"encode on {short_name(self._encoder.provider)}"
        return progress_bar(self._encoder.encode_all(entries), len(entries), "photo", what)

    def _make_room(self, needed_bytes: int, latest: EncodedImage) -> None:
        if needed_bytes <= self._cache.budget_bytes or self._encoder.stores:
            return
        require_writable(self._overflow)
        self._encoder.store_in(self._overflow, latest)
        say(
            f"feature maps take about {needed_bytes >> 20:,} MiB, more than --memory leaves for them: "
            f"they are stored below {self._overflow}, as with -e"
        )
