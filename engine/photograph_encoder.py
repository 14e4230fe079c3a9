"""Encodes photographs with one graph, and keeps their feature maps in a store when there is one."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engine.dataset import ImageEntry
from engine.encode_ahead import Pictures, Prepared, encode_in_order
from engine.encoding import (
    EXACT,
    EncodedImage,
    UprightPicture,
    encode_batch,
    placed,
    preprocessing_word,
    read_upright,
)
from engine.errors import ImageReadError
from engine.features import FeatureMap
from engine.imaging import image_file_facts, image_sha256, read_image
from engine.loaded_graph import GraphRuntime
from engine.providers import usable_cores
from engine.results import ImageRef
from engine.stage_times import StageTimes
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.names import image_name
from engine.views import UPRIGHT, View, canvas_size

PHOTOGRAPHS_KEPT = 4
"""Photographs kept in original size, for refinement."""
BATCH = 16
"""Pictures run together on a GPU."""
PICTURES_KEPT = 8
"""Decoded photographs kept for their other views."""


class PhotographEncoder:
    """Context manager. Feature maps read back from the store equal fresh ones to the bit.

    Attributes:
        encoded: photographs run through the graph.
        reused: photographs whose stored feature map was taken.
    """

    def __init__(
        self,
        runtime: GraphRuntime,
        graph_sha256: str,
        image_size: int,
        image_root: Path,
        store_root: Path | None,
        *,
        decode: str = EXACT,
        times: StageTimes | None = None,
    ) -> None:
        """Opens the store of these features.

        Args:
            image_size: shorter side of the encoded image in pixels, at scale 1.
            image_root: stored names are relative to it.
            store_root: `EMBED_ROOT`, or None to keep nothing.
            decode: how large JPEGs are decoded, one of `engine.encoding.DECODES`.
            times: where the time spent is added up.
        """
        self.encoded = 0
        self.reused = 0
        self._runtime = runtime
        self._graph_sha256 = graph_sha256
        self._image_size = image_size
        self._image_root = image_root
        self._store_root = store_root
        self._decode = decode
        self._times = times or StageTimes()
        self._lock = threading.RLock()
        self._stores: dict[View, FeatureStore] = {}
        self._photographs: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()
        self._pictures: OrderedDict[tuple[str, float], UprightPicture] = OrderedDict()
        if store_root is not None:
            self._store(UPRIGHT, store_root)

    @property
    def provider(self) -> str:
        """The provider that the graph runs on."""
        return self._runtime.provider

    @property
    def stores(self) -> bool:
        """Whether feature maps are stored."""
        return self._store_root is not None

    def store_in(self, root: Path, latest: EncodedImage | None = None) -> None:
        """Stores a feature map that was encoded just now, and those that follow, below this root.

        Raises:
            WriteError: the store there cannot be read or written.
        """
        self._store(UPRIGHT, root)
        self._store_root = root
        if latest is not None:
            self._keep(latest, UPRIGHT)

    def encode(self, entry: ImageEntry, view: View = UPRIGHT) -> EncodedImage:
        """The feature map of a view of a photograph, stored or fresh.

        Raises:
            ImageReadError: the file cannot be decoded.
            WriteError: the store cannot be written.
        """
        with self._times("decode"):
            prepared = self._prepare(entry, view)
        if isinstance(prepared.done, ImageReadError):
            raise prepared.done
        if prepared.done is not None:
            return prepared.done
        assert prepared.picture is not None
        (encoded,) = self._forward([(entry, prepared.picture)], view)
        self._keep(encoded, view)
        return encoded

    def encode_all(
        self, entries: Iterable[ImageEntry], *, workers: int | None = None, batch: int | None = None
    ) -> Iterator[tuple[ImageEntry, EncodedImage | ImageReadError]]:
        """Upright feature maps of many photographs, or why they have none, in the order given.

        Args:
            workers: threads that decode; by default, as many as there are cores, at most 8.
            batch: pictures run together; by default 1 on a CPU, where one fills the cores, and 16 elsewhere.

        Raises:
            WriteError: the store cannot be written.
            ProviderError: the graph failed.
        """
        fresh: set[str] = set()

        def prepare(entry: ImageEntry) -> Prepared:
            with self._times("decode"):
                prepared = self._prepare(entry, UPRIGHT)
            if prepared.picture is not None:
                fresh.add(entry.key)
            return prepared

        for entry, encoded in encode_in_order(
            entries,
            prepare,
            self._forward,
            workers=workers or min(8, usable_cores()),
            batch=batch or (1 if "CPU" in self._runtime.provider else BATCH),
        ):
            if isinstance(encoded, EncodedImage) and entry.key in fresh:
                self._keep(encoded, UPRIGHT)
            fresh.discard(entry.key)
            yield entry, encoded

    def _prepare(self, entry: ImageEntry, view: View) -> Prepared:
        """The stored map of a view, or the decoded photograph. May be called from several threads.

        A file that cannot be read is an answer here, not an error: the caller has others in hand.
        """
        try:
            sha256 = ""
            if self._store_root is not None:
                store, name = self._store(view, self._store_root), image_name(entry.path, self._image_root)
                facts = FileFacts(*image_file_facts(entry.path))
                stored = store.get(name, facts)
                if stored is None:
                    # The digest is taken before decoding: of a file replaced in between, the next run finds another.
                    sha256 = image_sha256(entry.path)
                    facts = replace(facts, sha256=sha256)
                    stored = store.get(name, facts)
                    if stored is not None:
                        store.add(name, facts, stored)  # copied or touched: known by its new time from now on
                if stored is not None:
                    facts = replace(facts, sha256=store.sha256(name))
                    with self._lock:
                        self.reused += 1
                    return Prepared(entry, done=self._restored(entry, view, stored, facts))
            return Prepared(entry, self._picture(entry, view.scale, sha256))
        except ImageReadError as error:
            return Prepared(entry, done=error)

    def _forward(self, pictures: Pictures, view: View = UPRIGHT) -> list[EncodedImage]:
        with self._times("encode"):
            encoded = encode_batch(pictures, self._runtime, view.rotation_deg)
        self.encoded += len(encoded)
        return encoded

    def _keep(self, encoded: EncodedImage, view: View) -> None:
        if self._store_root is None:
            return
        with self._times("write"):
            name = image_name(encoded.image.path, self._image_root)
            self._store(view, self._store_root).add(name, FileFacts.of(encoded.image), encoded.features)

    def _store(self, view: View, root: Path) -> FeatureStore:
        with self._lock:
            if view not in self._stores:
                word = preprocessing_word(self._decode, self._runtime.graph.resampling)
                identity = FeatureIdentity(self._graph_sha256, self._image_size, word, view.word)
                self._stores[view] = FeatureStore(root, self._runtime.graph.alias, identity)
            return self._stores[view]

    def _picture(self, entry: ImageEntry, scale: float, sha256: str) -> UprightPicture:
        """The decoded photograph; the last few stay in memory, as their other views often come next."""
        wanted = (entry.key, scale)
        with self._lock:
            if wanted in self._pictures:
                self._pictures.move_to_end(wanted)
                return self._pictures[wanted]
        graph = self._runtime.graph
        picture = read_upright(entry, self._image_size, scale, graph.stride, self._decode, graph.resampling, sha256)
        with self._lock:
            self._pictures[wanted] = picture
            while len(self._pictures) > PICTURES_KEPT:
                self._pictures.popitem(last=False)
        return picture

    def _restored(self, entry: ImageEntry, view: View, stored: FeatureMap, facts: FileFacts) -> EncodedImage:
        """A stored map with what is known of the run: the image's key in it, and the view's place."""
        stride = self._runtime.graph.stride
        canvas = canvas_size(stored.encoded_size, view.rotation_deg, stride)
        image = ImageRef(
            key=entry.key,
            label=entry.label,
            path=entry.path,
            size=stored.image_size,
            encoded_size=stored.encoded_size,
            grid=stored.grid,
            bytes=facts.bytes,
            modified_ns=facts.modified_ns,
            sha256=facts.sha256,
        )
        return EncodedImage(image, placed(replace(stored, key=entry.key), view.rotation_deg, canvas), 0.0)

    def photograph(self, entry: ImageEntry, /) -> NDArray[np.uint8]:
        """The photograph, [H, W, 3] uint8 RGB in original pixels; the last few stay in memory.

        Raises:
            ImageReadError: the file cannot be decoded.
        """
        if entry.key not in self._photographs:
            self._photographs[entry.key] = read_image(entry.path)
            while len(self._photographs) > PHOTOGRAPHS_KEPT:
                self._photographs.popitem(last=False)
        self._photographs.move_to_end(entry.key)
        return self._photographs[entry.key]

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture [H, W, 3] whose sides are multiples of the stride."""
        tokens, _ = self._runtime(picture[np.newaxis])
        norms = np.linalg.norm(tokens[0], axis=1, keepdims=True)
        return np.asarray(tokens[0] / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)

    def summary(self) -> str:
        """What was stored where, and what in the store was damaged."""
        if not self._stores:
            return f"{self.encoded} views encoded"
        folder = self._stores[UPRIGHT].folder
        lines = [f"feature maps: {self.encoded} encoded, {self.reused} reused, in {folder}"]
        if len(self._stores) > 1:
            lines.append(f"  and {len(self._stores) - 1} other view(s) beside it")
        return "\n".join([*lines, *(f"  {line}" for store in self._stores.values() for line in store.problems)])

    def __enter__(self) -> "PhotographEncoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as closing:
            for store in self._stores.values():
                closing.callback(store.close)
