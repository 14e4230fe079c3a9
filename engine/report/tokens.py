"""Patch tokens for the page: 8 bits a value, so that the similarity of a patch with all others is worked out there."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.encoding import EXACT, preprocessing_word
from engine.errors import Dinov3MatchError, GraphError
from engine.features import FeatureMap, in_view
from engine.report.data_file import data_script, rounded
from engine.report.folder import ReportFolder
from engine.report.source import RunDescription, SourcePair
from engine.results import ImageRef
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.names import image_name
from engine.views import View, canvas_to_encoded
from models.contract import BILINEAR


def quantized(descriptors: NDArray[np.floating]) -> NDArray[np.int8]:
    """[N, D] int8: each row scaled so that its largest value is 127. The scale is lost: cosines do not need it."""
    values = np.asarray(descriptors, np.float32)
    peak = np.abs(values).max(axis=1, keepdims=True) if values.size else np.ones((len(values), 1), np.float32)
    return np.asarray(np.round(values * (127.0 / np.maximum(peak, 1e-12))), np.int8)


def grid_matrix(features: FeatureMap) -> NDArray[np.float64]:
    """[3, 3] map from the grid, where token (row, col) covers col to col + 1 and row to row + 1, to original pixels."""
    (rows, cols), canvas = features.grid, features.canvas_size or features.encoded_size
    edges = np.array([[canvas[0] / cols, 0.0, -0.5], [0.0, canvas[1] / rows, -0.5], [0.0, 0.0, 1.0]])
    upright = canvas_to_encoded(features.encoded_size, canvas, features.rotation_deg)
    return np.asarray(rescale_matrix(features.encoded_size, features.image_size) @ upright @ edges)


def token_document(features: FeatureMap) -> dict[str, Any]:
    """`{grid: [rows, cols], dim, place, data}`: `place` is the `grid_matrix` row by row, values are in base64."""
    return {
        "grid": list(features.grid),
        "dim": int(features.descriptors.shape[1]),
        "place": rounded(grid_matrix(features), 6),
        "data": base64.b64encode(quantized(features.descriptors).tobytes()).decode("ascii"),
    }


class TokenSource:
    """Finds the stored feature maps of a run's photographs, each in the view that was matched."""

    def __init__(self, embed_root: Path, run: RunDescription) -> None:
        self._embed_root = embed_root
        self._run = run
        self._stores: dict[View, FeatureStore] = {}

    @property
    def problems(self) -> list[str]:
        """One line per damaged file met."""
        return [problem for store in self._stores.values() for problem in store.problems]

    def find(self, image: ImageRef, view: View) -> FeatureMap | None:
        """The map of a photograph in this view; None where none of this very file is stored."""
        if not self._run.graph_sha256:
            return None
        name = image_name(image.path, Path(self._run.image_root))
        found = self._store(view).get(name, FileFacts(image.bytes, image.modified_ns))
        return None if found is None else in_view(found, view)

    def _store(self, view: View) -> FeatureStore:
        if view not in self._stores:
            run, settings = self._run, self._run.settings
            word = preprocessing_word(settings.get("decode", EXACT), settings.get("resampling", BILINEAR))
            identity = FeatureIdentity(run.graph_sha256, run.image_size, word, view.word)
            self._stores[view] = FeatureStore(self._embed_root, run.weights, identity)
        return self._stores[view]


Encode = Callable[[SourcePair, ImageRef, View], FeatureMap]
"""(pair, its photograph, view) encodes it with the graph that matched them; raises a `WorkError` where it cannot."""


class TokenWriter:
    """Writes tokens to a report, once for each photograph and view.

    Attributes:
        no_graph: why photographs without stored tokens cannot be encoded; empty as long as they can, or need not.
    """

    def __init__(self, folder: ReportFolder, tokens: TokenSource, encode: Encode | None = None) -> None:
        """Nothing is read yet; without `encode`, only what is stored is written."""
        self.no_graph = ""
        self._folder = folder
        self._tokens = tokens
        self._encode = encode
        self._written: dict[tuple[int, View], bool] = {}

    def names(self, pair: SourcePair, rows: tuple[int, int]) -> list[str] | None:
        """Writes what a pair's patch-similarity map needs.

        Args:
            rows: of the photographs a and b in the listing.

        Returns:
            the names of the data of a and b; None where one of them is not to be had.
        """
        result = pair.result
        views = ((result.image_a, result.view_a), (result.image_b, result.view_b))
        there = [self._write(pair, row, image, view) for row, (image, view) in zip(rows, views, strict=True)]
        return [_name(row, view) for row, (_, view) in zip(rows, views, strict=True)] if all(there) else None

    def _write(self, pair: SourcePair, row: int, image: ImageRef, view: View) -> bool:
        if (row, view) not in self._written:
            features = self._tokens.find(image, view) or self._encoded(pair, image, view)
            if features is not None:
                name = _name(row, view)
                self._folder.write(f"data/{name}.js", data_script(name, token_document(features)))
            self._written[row, view] = features is not None
        return self._written[row, view]

    def _encoded(self, pair: SourcePair, image: ImageRef, view: View) -> FeatureMap | None:
        if self._encode is None or pair.run is None:
            return None
        try:
            return self._encode(pair, image, view)
        except GraphError as error:
            self.no_graph, self._encode = str(error), None
        except Dinov3MatchError:
            pass  # The photograph is missing or altered: the overview says so already.
        return None


def _name(row: int, view: View) -> str:
    return f"tokens/{row}-{view.word}"
