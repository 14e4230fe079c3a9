"""Patch tokens for the page: 8 bits a value, so that the similarity of a patch with all others is worked out there."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.encoding import EXACT, preprocessing_word
from engine.report.listing import ListedImage
from engine.report.source import RunDescription
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.names import image_name
from models.contract import BILINEAR


def quantized(descriptors: NDArray[np.floating]) -> NDArray[np.int8]:
    """[N, D] int8: each row scaled so that its largest value is 127. The scale is lost: cosines do not need it."""
    values = np.asarray(descriptors, np.float32)
    peak = np.abs(values).max(axis=1, keepdims=True) if values.size else np.ones((len(values), 1), np.float32)
    return np.asarray(np.round(values * (127.0 / np.maximum(peak, 1e-12))), np.int8)


class TokenSource:
    """Finds the stored feature maps of a run's photographs.

    Attributes:
        problems: one line per damaged file met.
    """

    def __init__(self, embed_root: Path, run: RunDescription) -> None:
        self._root = run.image_root
        self._store: FeatureStore | None = None
        if run.graph_sha256:
            settings = run.settings
            word = preprocessing_word(settings.get("decode", EXACT), settings.get("resampling", BILINEAR))
            identity = FeatureIdentity(run.graph_sha256, run.image_size, word)
            self._store = FeatureStore(embed_root, run.weights, identity)

    @property
    def problems(self) -> list[str]:
        return self._store.problems if self._store else []

    def document(self, image: ListedImage) -> dict[str, Any] | None:
        """`{grid: [rows, cols], dim, data}`, values in base64; None where no map of this very file is stored."""
        if self._store is None:
            return None
        ref = image.ref
        found = self._store.get(image_name(ref.path, Path(self._root)), FileFacts(ref.bytes, ref.modified_ns))
        if found is None:
            return None
        data = base64.b64encode(quantized(found.descriptors).tobytes()).decode("ascii")
        return {"grid": list(found.grid), "dim": int(found.descriptors.shape[1]), "data": data}


def images_of(rows: Iterable[int], a: NDArray[np.int32], b: NDArray[np.int32]) -> list[int]:
    """Rows of the images that take part in these pairs, each once."""
    return sorted({int(column[row]) for row in rows for column in (a, b)})
