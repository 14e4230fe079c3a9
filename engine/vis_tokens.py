"""Feature maps for pictures: the stored ones of the very files that were matched, else encoded with the same graph."""

import glob
from collections.abc import Callable
from pathlib import Path

from engine.dataset import file_entry
from engine.digest import file_sha256
from engine.drawing import TokenScene
from engine.encoding import DECODES, EXACT, encode_picture, preprocessing_word, read_upright
from engine.errors import GraphError
from engine.features import FeatureMap, in_view
from engine.graphs import graph_path
from engine.imaging import image_file_facts
from engine.loaded_graph import GraphRuntime
from engine.runtime import AUTO, open_graph
from engine.settings import Roots
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.names import image_name
from engine.store.stored_result import StoredImage, StoredResult
from engine.views import View
from engine.vis_pairs import DrawablePair
from models.catalogue import BUNDLED_ALIAS
from models.contract import BILINEAR, RESAMPLINGS

_DEFAULT_KEYPOINT_THRESHOLD = 0.0


class TokenFinder:
    """Finds or makes the feature maps of stored pairs; the graph stays open from pair to pair."""

    def __init__(self, roots: Roots, provider: str = AUTO, tell: Callable[[str], object] = print) -> None:
        """Nothing is opened yet.

        Args:
            provider: where photographs are encoded.
            tell: is told which graph encodes, once for each.
        """
        self._roots = roots
        self._provider = provider
        self._tell = tell
        self._open: dict[Path, GraphRuntime] = {}
        self._digests: dict[Path, str] = {}

    def scene(self, pair: DrawablePair, path_a: Path, path_b: Path, point_px: tuple[float, float] | None) -> TokenScene:
        """The tokens of a pair.

        Args:
            path_a, path_b: the photographs as found now.
            point_px: the point of a whose patch is compared, original pixels.

        Raises:
            GraphError: the maps are not stored, and the graph that made them is not there.
            ImageReadError, ProviderError, WorkError: encoding failed.
        """
        stored = pair.stored
        threshold = stored.settings.get("keypoint_threshold", _DEFAULT_KEYPOINT_THRESHOLD)
        return TokenScene(
            a=self._map(pair, stored.image_a, path_a, pair.view_a),
            b=self._map(pair, stored.image_b, path_b, pair.view_b),
            keypoint_threshold=float(threshold) if isinstance(threshold, int | float) else 0.0,
            point_px=point_px,
        )

    def _map(self, pair: DrawablePair, image: StoredImage, path: Path, view: View) -> FeatureMap:
        found = self._stored(pair, image, path, view)
        return self.encoded(pair.stored, path, view) if found is None else found

    def _stored(self, pair: DrawablePair, image: StoredImage, path: Path, view: View) -> FeatureMap | None:
        stored = pair.stored
        sha256 = stored.settings.get("graph_sha256")
        if not sha256:
            return None
        word = preprocessing_word(_decode(stored), _resampling(stored))
        identity = FeatureIdentity(str(sha256), _image_size(stored), word, view.word)
        facts = image.facts or FileFacts(*image_file_facts(path))
        names = {image_name(path, self._roots.images)}
        if pair.image_root:
            names.add(image_name(image.path, Path(pair.image_root)))
        with FeatureStore(self._roots.embeds, stored.weights, identity) as store:
            maps = (store.get(name, facts) for name in sorted(names))
            found = next((features for features in maps if features is not None), None)
        return None if found is None else in_view(found, view)

    def encoded(self, stored: StoredResult, path: Path, view: View) -> FeatureMap:
        """The map of a photograph in a view, made by the graph that matched the pair.

        Raises:
            GraphError: that graph is not there.
            ImageReadError, ProviderError, WorkError: encoding failed.
        """
        runtime = self._runtime(stored)
        entry = file_entry(path)
        size, graph = _image_size(stored), runtime.graph
        picture = read_upright(entry, size, view.scale, graph.stride, _decode(stored), graph.resampling)
        return encode_picture(entry, picture, runtime, view.rotation_deg).features

    def _runtime(self, stored: StoredResult) -> GraphRuntime:
        path = self._graph(stored)
        if path not in self._open:
            self._open[path] = open_graph(path, self._provider)
            self._tell(f"feature maps are not stored; encoding with {path} on {self._open[path].provider}")
        return self._open[path]

    def _graph(self, stored: StoredResult) -> Path:
        """The graph that matched the pair; of the earlier tool's files, the backbone's."""
        alias, root = stored.weights, self._roots.graphs
        found = sorted(root.glob(f"{glob.escape(alias)}-*.onnx")) if root.is_dir() else []
        if alias == BUNDLED_ALIAS:
            found.append(graph_path(root, alias))
        wanted = stored.settings.get("graph_sha256")
        for path in found:
            if not wanted or self._sha256(path) == wanted:
                return path
        problem = f"{stored.file}: its feature maps are not stored below {self._roots.embeds}, and "
        if found:
            listed = ", ".join(path.name for path in found)
            raise GraphError(
                f"{problem}the graph that matched it (SHA-256 {str(wanted)[:12]}…) is none of {listed} in {root}. "
                "Match the pair again, with -e to store them"
            )
        raise GraphError(
            f"{problem}no graph of {alias} is in {root}. Make it with 'engine export --weights {alias}', or point "
            "GRAPH_ROOT or EMBED_ROOT at what there is"
        )

    def _sha256(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = file_sha256(path)
        return self._digests[path]


def _image_size(stored: StoredResult) -> int:
    size = stored.settings.get("image_size")
    return size if isinstance(size, int) and size > 0 else min(stored.image_a.encoded_size)


def _decode(stored: StoredResult) -> str:
    word = stored.settings.get("decode", EXACT)
    return word if word in DECODES else EXACT


def _resampling(stored: StoredResult) -> str:
    """Of the graph that matched the pair; results of versions that did not record it are all bilinear."""
    word = stored.settings.get("resampling", BILINEAR)
    return word if word in RESAMPLINGS else BILINEAR
