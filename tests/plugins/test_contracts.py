"""What every registered matcher and filter must hold to; a new plugin gets these tests by being listed."""

import importlib
import inspect
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plugins
from engine import Estimate, FeatureMap, FilterRecord, MatcherRecord, Matches, ModelKind
from engine.hooks import Hooks
from engine.plugin_options import describe_options, matching_mode, parse_options
from engine.plugin_registry import load_registry
from plugins import BUILTINS

TEMPLATE = importlib.import_module("plugins.TEMPLATE")
REGISTRY = load_registry((*BUILTINS, TEMPLATE), entry_points=False)
SHARED_MODULES = {
    "choice",
    "device_maps",
    "mutual_block",
    "mutual_device",
    "mutual_nearest",
    "nearest",
    "poselib",
    "products",
    "robust",
}
SHIFT = np.array([30.0, -12.0])

every_matcher = pytest.mark.parametrize("matcher", REGISTRY.matchers.values(), ids=lambda record: record.name)
every_filter = pytest.mark.parametrize("filter_record", REGISTRY.filters.values(), ids=lambda record: record.name)


def feature_map(rows: int, cols: int, dim: int = 16, seed: int = 0) -> FeatureMap:
    """A map of random unit tokens; its arrays cannot be written to."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(rows * cols, dim)).astype(np.float32)
    norms = np.linalg.norm(tokens, axis=1)
    descriptors = (tokens / np.maximum(norms, 1e-12)[:, None]).astype(np.float16)
    index = np.arange(rows * cols, dtype=np.int32)
    for array in (descriptors, norms, index):
        array.flags.writeable = False
    size = (cols * 64, rows * 64)
    return FeatureMap("400.0001", descriptors, norms, index, np.ones(1, np.float32), (rows, cols), size, size)


def run_matcher(record: MatcherRecord, a: FeatureMap, b: FeatureMap) -> Matches:
    return record.factory()(a, b, record.options())


def run_filter(record: FilterRecord, a: NDArray[np.float64], b: NDArray[np.float64]) -> Estimate:
    for points in (a, b):
        points.flags.writeable = False
    return record.factory()(a, b, record.options())


def shifted(count: int, outliers: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
    """Points of a, the same shifted in b, some replaced at random; and which are right."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 600, (count, 2))
    b = a + SHIFT
    right = rng.permutation(count) >= outliers * count
    b[~right] = rng.uniform(0, 600, (np.count_nonzero(~right), 2))
    return a, b, right


def same(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(value, getattr(second, name))
        if isinstance(value, np.ndarray)
        else value is getattr(second, name)
        for name, value in vars(first).items()
    )


def test_every_plugin_module_is_listed() -> None:
    modules = {info.name for info in pkgutil.iter_modules(plugins.__path__)} - SHARED_MODULES - {"TEMPLATE"}
    assert modules == {module.__name__.removeprefix("plugins.") for module in BUILTINS}


@pytest.mark.parametrize("hook", [name for name in vars(Hooks) if name.startswith("engine_")])
def test_every_hook_is_documented_and_exercised(hook: str) -> None:
    assert inspect.getdoc(getattr(Hooks, hook))
    implemented = [module for module in BUILTINS if hasattr(module, hook)]
    assert implemented
    assert all(inspect.getdoc(getattr(module, hook)) for module in implemented)
    assert any(len(getattr(module, hook)()) for module in implemented)


@pytest.mark.parametrize(
    "record",
    [*REGISTRY.matchers.values(), *REGISTRY.filters.values()],
    ids=lambda record: f"{type(record).__name__}-{record.name}",
)
def test_help_is_one_line_for_the_record_and_each_option(record: Any) -> None:
    rows = describe_options(record.options)
    assert all(text and "\n" not in text for text in (record.help, *(row.help for row in rows)))
    assert parse_options(record.options, [f"{row.name}={row.default}" for row in rows], "-M") == record.options()


@every_matcher
def test_the_mode_names_the_matcher(matcher: MatcherRecord) -> None:
    mode = matching_mode(matcher, matcher.options())
    assert mode.startswith(matcher.name)
    assert mode.endswith("_unique")


@every_matcher
@pytest.mark.parametrize("grids", [((0, 0), (0, 0)), ((0, 0), (3, 4)), ((3, 4), (0, 0))], ids=str)
def test_an_empty_map_gives_no_matches(matcher: MatcherRecord, grids: Any) -> None:
    matches = run_matcher(matcher, feature_map(*grids[0]), feature_map(*grids[1], seed=1))
    assert (len(matches.index_a), len(matches.index_b), len(matches)) == (0, 0, 0)


@every_matcher
@pytest.mark.parametrize("grids", [((1, 1), (1, 1)), ((1, 1), (3, 4)), ((3, 4), (1, 1)), ((7, 9), (8, 6))], ids=str)
def test_matches_are_in_range_typed_and_best_first(matcher: MatcherRecord, grids: Any) -> None:
    a, b = feature_map(*grids[0], seed=2), feature_map(*grids[1], seed=3)
    matches = run_matcher(matcher, a, b)
    assert (matches.index_a.dtype, matches.index_b.dtype) == (np.int32, np.int32)
    assert matches.similarity.dtype == np.float32
    assert matches.index_a.shape == matches.index_b.shape == matches.similarity.shape
    if len(matches):
        assert 0 <= matches.index_a.min() <= matches.index_a.max() < len(a)
        assert 0 <= matches.index_b.min() <= matches.index_b.max() < len(b)
    order = np.lexsort((matches.index_b, matches.index_a, -matches.similarity))
    assert np.array_equal(order, np.arange(len(matches)))
    assert len({*zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)}) == len(matches)


@every_matcher
def test_similarities_are_the_cosines_of_the_pairs(matcher: MatcherRecord) -> None:
    a, b = feature_map(7, 9, seed=2), feature_map(8, 6, seed=3)
    matches = run_matcher(matcher, a, b)
    pairs = zip(a.descriptors[matches.index_a], b.descriptors[matches.index_b], strict=True)
    expected = [float(np.dot(left.astype(np.float64), right.astype(np.float64))) for left, right in pairs]
    assert len(expected) > 0
    np.testing.assert_allclose(matches.similarity, expected, atol=1e-6)


@every_matcher
def test_a_map_finds_itself(matcher: MatcherRecord) -> None:
    a = feature_map(7, 9, seed=2)
    matches = run_matcher(matcher, a, a)
    found = {*zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)}
    assert {(i, i) for i in range(len(a))} <= found


@every_matcher
def test_a_matcher_repeats_itself_in_any_thread(matcher: MatcherRecord) -> None:
    a, b = feature_map(12, 15, seed=4), feature_map(13, 11, seed=5)
    first = run_matcher(matcher, a, b)
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda _: run_matcher(matcher, a, b), range(8)))
    assert all(same(first, other) for other in others)


@every_filter
@pytest.mark.parametrize("count", range(9))
def test_few_matches_give_a_full_answer_or_none(filter_record: FilterRecord, count: int) -> None:
    a, b, _ = shifted(count, 0.0)
    estimate = run_filter(filter_record, a, b)
    assert estimate.inliers.shape == (count,)
    assert estimate.inliers.dtype == np.bool_
    if count < filter_record.min_matches:
        assert estimate.matrix is None
        assert not estimate.inliers.any()


@every_filter
@pytest.mark.parametrize("outliers", [0.0, 0.3, 1.0])
def test_a_matrix_is_finite_and_inliers_come_only_with_one(filter_record: FilterRecord, outliers: float) -> None:
    a, b, _ = shifted(60, outliers)
    estimate = run_filter(filter_record, a, b)
    assert estimate.inliers.shape == (60,)
    assert estimate.inliers.dtype == np.bool_
    if estimate.matrix is None:
        assert filter_record.kind is ModelKind.NONE or not estimate.inliers.any()
    else:
        assert estimate.matrix.shape == (3, 3)
        assert estimate.matrix.dtype == np.float64
        assert np.isfinite(estimate.matrix).all()


@every_filter
def test_a_shift_is_found_among_outliers_by_every_point_map(filter_record: FilterRecord) -> None:
    a, b, right = shifted(120, 0.3)
    estimate = run_filter(filter_record, a, b)
    if filter_record.kind is ModelKind.POINT_MAP:
        assert estimate.matrix is not None
        mapped = np.column_stack([a, np.ones(len(a))]) @ estimate.matrix.T
        np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], a + SHIFT, atol=1.0)
    if filter_record.kind is ModelKind.NONE:
        assert estimate.matrix is None
        assert estimate.inliers.all()
    assert estimate.inliers[right].all()


@every_filter
def test_a_filter_repeats_itself_in_any_thread(filter_record: FilterRecord) -> None:
    a, b, _ = shifted(150, 0.5, seed=6)
    first = run_filter(filter_record, a, b)
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda _: run_filter(filter_record, a, b), range(8)))
    assert all(same(first, other) for other in others)
