"""Matchers and filters at fault: each is a plain error that names the plugin and its package."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import Estimate, FeatureMap, FilterRecord, MatcherRecord, Matches, hookimpl
from engine.block_matching import match_block
from engine.errors import PluginError, UsageError
from engine.hooks import ModelKind
from engine.plugin_calls import call_filter, call_matcher
from engine.plugin_registry import load_registry
from engine.verify_pool import VerifyJob, VerifyTask, verify_in_order

EIGHT = np.random.default_rng(0).uniform(0, 100, (8, 2))


@dataclass(frozen=True)
class NoOptions:
    pass


class PeculiarError(Exception):
    """An error that cannot be made again from its text, as it would be in another process."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} {number}")


def fails(*_: Any, **__: Any) -> Any:
    raise PeculiarError(7, "out of\nluck")


def feature_map(count: int) -> FeatureMap:
    index, ones = np.arange(count, dtype=np.int32), np.ones(count, np.float32)
    tokens = np.eye(max(count, 4), dtype=np.float16)[:count]
    return FeatureMap("m", tokens, ones, index, ones, (1, count), (16 * count, 16), (16 * count, 16))


def matches(index_a: list[int], index_b: list[int], similarity: list[float]) -> Matches:
    return Matches(np.array(index_a, np.int32), np.array(index_b, np.int32), np.array(similarity, np.float32))


def matcher(function: Callable[..., Any]) -> MatcherRecord:
    return MatcherRecord("theirs", "help", NoOptions, lambda: function, origin="their-package 1.2")


def geometry(function: Callable[..., Any]) -> FilterRecord:
    return FilterRecord(
        "theirs", "help", NoOptions, lambda: function, ModelKind.POINT_MAP, 4, origin="their-package 1.2"
    )


WRONG_MATCHES = [
    ("no Matches", [(0, 0)], "tuple|list instead of Matches"),
    ("uneven", matches([0, 1], [0, 1], [0.9]), r"shapes \[2\], \[2\], \[1\]"),
    ("flat", Matches(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)), "shapes"),
    ("beyond a", matches([3], [0], [0.9]), "index_a outside 0 to 2"),
    ("beyond b", matches([0], [5], [0.9]), "index_b outside 0 to 4"),
    ("negative", matches([-1], [0], [0.9]), "index_a outside"),
    ("fractions", Matches(np.zeros(1, np.float32), np.zeros(1, np.int32), np.zeros(1, np.float32)), "no whole numbers"),  # type: ignore[arg-type]
    ("nan", matches([0], [0], [float("nan")]), "not finite"),
]


@pytest.mark.parametrize(("given", "said"), [entry[1:] for entry in WRONG_MATCHES], ids=[e[0] for e in WRONG_MATCHES])
def test_matches_are_checked_in_both_forms(given: Any, said: str) -> None:
    a, b = feature_map(3), feature_map(5)
    with pytest.raises(PluginError, match=rf"the matcher 'theirs' of their-package 1\.2 gave .*({said})"):
        call_matcher(matcher(fails), lambda *_: given, a, b, NoOptions())

    def block(*_: Any, **__: Any) -> Iterator[Any]:
        yield 0, 0, given

    fast = replace(matcher(fails), block=lambda: block)
    with pytest.raises(PluginError, match=said):
        list(match_block(fast, [a], [b], np.ones((1, 1), bool), NoOptions()))


def test_a_matcher_that_fails_is_named_with_its_package_and_its_reason() -> None:
    said = r"the matcher 'theirs' of their-package 1\.2 failed \(PeculiarError: out of luck 7\)"
    one = feature_map(3)
    for record in (
        matcher(fails),
        replace(matcher(fails), block=lambda: fails),
        replace(matcher(fails), factory=fails),
    ):
        with pytest.raises(PluginError, match=said):
            list(match_block(record, [one], [one], np.ones((1, 1), bool), NoOptions()))
    with pytest.raises(PluginError, match=said):
        call_matcher(matcher(fails), fails, one, one, NoOptions())


@pytest.mark.parametrize(
    ("pairs", "said"),
    [([(0, 0)], r"left out 1 pair\(s\), such as \(0, 1\)"), ([(0, 0), (0, 0)], "twice"), ([(1, 0)], "not asked for")],
)
def test_a_fast_form_gives_each_wanted_pair_once(pairs: list[tuple[int, int]], said: str) -> None:
    def block(*_: Any, **__: Any) -> Iterator[Any]:
        for row, column in pairs:
            yield row, column, matches([0], [0], [0.9])

    two = [feature_map(3), feature_map(3)]
    with pytest.raises(PluginError, match=said):
        list(
            match_block(replace(matcher(fails), block=lambda: block), two[:1], two, np.ones((1, 2), bool), NoOptions())
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "NoneType instead of an Estimate"),
        (Estimate(np.eye(3), np.ones(5, bool)), r"inliers of shape \[5\] for 8 matches"),
        (Estimate(np.eye(2), np.ones(8, bool)), r"not \[3, 3\]"),
        (Estimate(np.full((3, 3), np.nan), np.ones(8, bool)), "finite"),
    ],
)
def test_estimates_are_checked(given: Any, said: str) -> None:
    with pytest.raises(PluginError, match=rf"the filter 'theirs' of their-package 1\.2 gave .*{said}"):
        call_filter(geometry(lambda *_: given), EIGHT, EIGHT, NoOptions())


def short_mask(a: np.ndarray, b: np.ndarray, options: object) -> Estimate:
    return Estimate(np.eye(3), np.ones(len(a) - 1, bool))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("function", "said"),
    [(fails, r"failed \(PeculiarError: out of luck 7\)"), (short_mask, r"shape \[7\] for 8 matches")],
)
def test_errors_of_filters_come_out_of_processes(function: Callable[..., Any], said: str, workers: int) -> None:
    size = (100, 100)
    job = VerifyJob(geometry(function), NoOptions(), "encoded", min_inliers=2)
    task = VerifyTask(EIGHT, EIGHT, size, size, size, size)
    with pytest.raises(PluginError, match=f"the filter 'theirs' of their-package 1.2 .*{said}"):
        list(verify_in_order([(0, task)], job, workers))


def test_an_error_of_this_program_keeps_its_kind() -> None:
    def refuses(*_: Any) -> Estimate:
        raise UsageError("needs a package")

    with pytest.raises(UsageError, match=r"^needs a package$"):
        call_filter(geometry(refuses), EIGHT, EIGHT, NoOptions())


def test_the_registry_fills_in_where_a_record_is_from() -> None:
    plugin = SimpleNamespace(
        __name__="theirs",
        engine_matchers=hookimpl(lambda: [replace(matcher(fails), origin="")], specname="engine_matchers"),
        engine_filters=hookimpl(lambda: [replace(geometry(fails), origin="")], specname="engine_filters"),
    )
    registry = load_registry([plugin], entry_points=False)
    assert registry.matcher("theirs").origin == registry.filter("theirs").origin == "dinov3-match itself"
