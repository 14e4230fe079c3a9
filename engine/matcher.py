"""Use from Python: `Matcher` opens a graph once and matches photographs, from files or in memory.

    from engine import Matcher

    with Matcher("vitt16") as matcher:
        found = matcher.match("a.jpg", "b.jpg")
    print(found.inlier_count, found.matrix)

This is the second way into the program besides the command line, and does what `engine match` does, without files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.digest import file_sha256
from engine.encoding import DECODES, FAST
from engine.errors import GraphError, UsageError
from engine.features import FeatureMap
from engine.graphs import DEFAULT_PRECISION, choose_graphs, graph_path, requested_backbones
from engine.library import FileCache, LoadedPhotograph, MatchedPair, Photograph, TwoPhotographs
from engine.only_graph import require_own_name
from engine.pair_matching import PairMatcher, Procedure
from engine.pair_refinement import NO_REFINEMENT, REFINEMENTS
from engine.plugin_calls import require_filter
from engine.plugin_options import options_as_dict, parse_options
from engine.plugin_registry import Registry, load_registry
from engine.results import MatchSettings
from engine.runtime import AUTO, open_graph
from engine.search import SearchPlan, parse_scales
from engine.settings import load_roots, read_environment
from engine.verification import ENCODED, REPROJ_UNITS
from engine.views import UPRIGHT
from models.catalogue import BUNDLED_ALIAS, Backbone


class Matcher:
    """Matches photographs with one graph and one procedure. Not to be shared between threads.

    A photograph is the path of an image file, or pixels [H, W, 3] uint8 RGB (OpenCV reads BGR: `picture[..., ::-1]`).
    The last few files are kept, so matching one photograph with several encodes it once.

    Attributes:
        settings: everything that changes what is found, as result files record it.
        provider: the execution provider really used, for example `CPUExecutionProvider`.
        graph: the graph's file.
    """

    def __init__(
        self,
        weights: str | Path = BUNDLED_ALIAS,
        *,
        provider: str = AUTO,
        precision: str = DEFAULT_PRECISION,
        image_size: int = 336,
        max_features: int = 1000,
        matcher: str = "mutual_knn",
        matcher_options: Mapping[str, Any] | None = None,
        match_threshold: float = 0.1,
        keypoint_threshold: float = 0.015,
        line_threshold: float = 0.2,
        filter: str = "homography",
        filter_options: Mapping[str, Any] | None = None,
        reproj_unit: str = ENCODED,
        rotations: int = 1,
        scales: str | Sequence[float] = (1.0,),
        decode: str = FAST,
        min_inliers: int = 0,
        refine: str = NO_REFINEMENT,
        threads: int | None = None,
        registry: Registry | None = None,
    ) -> None:
        """Opens the graph. Defaults are those of `engine match`.

        Args:
            weights: a backbone's alias, whose graph lies below `GRAPH_ROOT` (the bundled one: in the package), or the
                path of a graph file (`.onnx`).
            provider: `auto`, `cuda`, `cpu` or another ONNX Runtime provider; `auto` takes CUDA where it works.
            precision: of the graph an alias stands for.
            image_size: shorter side of the encoded image in pixels.
            max_features: tokens kept per image; above, an even sample.
            matcher: name of a matcher, built in or of an installed package; `matcher_options` by name.
            match_threshold: smallest similarity of a match, -1 to 1.
            keypoint_threshold: smallest token norm, min-max scaled within the image, 0 to 1.
            line_threshold: smallest similarity as a share of the pair's best, 0 to 1.
            filter: name of a geometric filter; `filter_options` by name, for example `{"reproj_th": 4.0}`.
            reproj_unit: pixels that `reproj_th` is meant in, `encoded` or `original`.
            rotations: rotations of b to search: 1, 4, 8 or 12.
            scales: scales of b to search, or `auto`.
            decode: `fast` or `exact`: whether files of large JPEGs may be decoded at 1/2 to 1/8 of their size.
            min_inliers: a geometry of fewer inliers does not count.
            refine: how point maps are refined below a patch; one of `engine.pair_refinement.REFINEMENTS`.
            threads: of the CPU provider; by default, the cores this process may use.
            registry: plugins on offer; by default the built-in ones and those of installed packages.

        Raises:
            UsageError: a name or value is wrong; the message lists the right ones.
            GraphError: the graph is missing or damaged.
            ProviderError: the provider cannot be had.
        """
        _check_numbers(image_size, max_features, match_threshold, keypoint_threshold, line_threshold, min_inliers)
        _check_choice("decode", decode, DECODES)
        _check_choice("refine", refine, REFINEMENTS)
        _check_choice("reproj_unit", reproj_unit, REPROJ_UNITS)
        plan = SearchPlan(rotations, parse_scales(scales) if isinstance(scales, str) else tuple(scales))
        plugins = _all_plugins() if registry is None else registry
        chosen_matcher, chosen_filter = plugins.matcher(matcher), plugins.filter(filter)
        parsed = parse_options(chosen_matcher.options, _assignments(matcher_options), f"matcher {matcher}:")
        parsed_filter = parse_options(chosen_filter.options, _assignments(filter_options), f"filter {filter}:")
        require_filter(chosen_filter, parsed_filter)
        self.graph = _graph_file(weights, precision)
        self._runtime = open_graph(self.graph, provider, threads)
        if self.graph != Path(weights).expanduser():
            require_own_name(self._runtime.graph)
        self.provider = self._runtime.provider
        self.settings = MatchSettings(
            weights=self._runtime.graph.alias,
            source=self._runtime.graph.source,
            graph_sha256=file_sha256(self.graph),
            image_size=image_size,
            max_features=max_features,
            keypoint_threshold=keypoint_threshold,
            match_threshold=match_threshold,
            line_threshold=line_threshold,
            matcher=chosen_matcher.name,
            matcher_options=options_as_dict(parsed),
            filter=chosen_filter.name,
            filter_options=options_as_dict(parsed_filter),
            reproj_unit=reproj_unit,
            rotations=plan.rotations,
            scales=plan.scales,
            refine=refine,
            decode=decode,
            resampling=self._runtime.graph.resampling,
            min_inliers=min_inliers,
        )
        self._match: PairMatcher | None = PairMatcher(
            Procedure(self.settings, chosen_matcher, parsed, chosen_filter, parsed_filter)
        )
        self._files = FileCache()

    def match(self, a: Photograph, b: Photograph) -> MatchedPair:
        """Matches two photographs and verifies the geometry.

        Raises:
            UsageError: neither a path nor an array [H, W, 3] uint8, or this matcher is closed.
            ImageReadError: a file is missing or cannot be decoded; the message names it.
        """
        procedure = self._opened()
        pair = TwoPhotographs(self._load(a, "a"), self._load(b, "b"), self.settings, self._runtime)
        return MatchedPair.of(procedure(pair.pair, pair))

    def embed(self, image: Photograph) -> FeatureMap:
        """The feature map of a photograph: `descriptors` [N, D] float16, L2-normalised, one per patch; `norms` [N];
        `points_px` [N, 2], their centres in original pixels; `grid` (rows, cols); `global_descriptor` [D].

        Raises:
            UsageError, ImageReadError: as `match`.
        """
        self._opened()
        return self._load(image, "a").encoded(UPRIGHT).features

    def close(self) -> None:
        """Lets the graph and the photographs go; the matcher cannot be used any more."""
        self._match = None
        self._files = FileCache()
        self.__dict__.pop("_runtime", None)

    def __enter__(self) -> "Matcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> PairMatcher:
        if self._match is None:
            raise UsageError("this Matcher is closed: open another, or match inside its 'with' block")
        return self._match

    def _load(self, image: Photograph, side: str) -> LoadedPhotograph:
        loaded = LoadedPhotograph(image, side, self._runtime, self.settings.image_size, self.settings.decode)
        return self._files.get(loaded) if loaded.is_file else loaded


def _all_plugins() -> Registry:
    # This module and the command line are where all parts meet; nothing else fetches plugins.
    from plugins import BUILTINS

    return load_registry(BUILTINS)


def _graph_file(weights: str | Path, precision: str) -> Path:
    if isinstance(weights, Path) or weights.lower().endswith(".onnx"):
        return Path(weights).expanduser()
    root = load_roots(read_environment()).graphs

    def missing(entry: Backbone) -> Path:
        wanted = graph_path(root, entry.alias, precision)
        raise GraphError(
            f"no graph {wanted}: make it with 'engine export --weights {entry.alias} --precision {precision}', set "
            "GRAPH_ROOT to where it is, or give its path"
        )

    (choice,) = choose_graphs(requested_backbones([weights], None, False), False, root, missing, precision)
    return choice.path


def _assignments(options: Mapping[str, Any] | None) -> list[str]:
    def typed(value: Any) -> str:
        return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return [f"{name}={typed(value)}" for name, value in (options or {}).items()]


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"{name}='{value}': choose one of {', '.join(choices)}")


def _check_numbers(
    image_size: int,
    max_features: int,
    match_threshold: float,
    keypoint_threshold: float,
    line_threshold: float,
    min_inliers: int,
) -> None:
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("image_size", image_size, 16, 16384),
        ("max_features", max_features, 1, float("inf")),
        ("match_threshold", match_threshold, -1, 1),
        ("keypoint_threshold", keypoint_threshold, 0, 1),
        ("line_threshold", line_threshold, 0, 1),
        ("min_inliers", min_inliers, 0, float("inf")),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise UsageError(f"{name}={value} is outside {low:g} to {high:g}")
