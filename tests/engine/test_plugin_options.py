"""Options of plugins: typed and checked from the dataclass, and shown in words."""

import enum
import json
import random
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, Literal

import pytest

from engine import FilterRecord, MatcherRecord, Matches, ModelKind, UsageError, option
from engine.errors import PluginError
from engine.plugin_options import (
    OptionRow,
    check_options_type,
    check_ransac_method,
    describe_options,
    matching_mode,
    options_as_dict,
    parse_options,
)
from engine.plugin_registry import load_registry
from plugins import BUILTINS


class Shape(enum.StrEnum):
    ROUND = "round"
    SQUARE = "square"


@dataclass(frozen=True)
class Everything:
    count: int = option(3, minimum=1, maximum=9, help="how many")
    share: float = option(0.5, minimum=0.0, maximum=1.0)
    strict: bool = False
    label: str = "none at all"
    shape: Shape = Shape.ROUND
    side: Literal["left", "right", 3] = "left"
    limit: float | None = option(None, minimum=0.0)
    method: str = option("fast", choices=("fast", "exact"))


@dataclass(frozen=True)
class Ordered:
    low: int = 1
    high: int = 2

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not exceed high")


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("count=9", "count", 9),
        ("count = 0005", "count", 5),
        ("share=1", "share", 1.0),
        ("share=2.5e-1", "share", 0.25),
        ("strict=true", "strict", True),
        ("strict=Yes", "strict", True),
        ("strict=0", "strict", False),
        ("label=a=b, c", "label", "a=b, c"),
        ("label=", "label", ""),
        ("label=none", "label", "none"),
        ("shape=square", "shape", Shape.SQUARE),
        ("side=right", "side", "right"),
        ("side=3", "side", 3),
        ("limit=none", "limit", None),
        ("limit=12.5", "limit", 12.5),
        ("method=exact", "method", "exact"),
    ],
)
def test_a_value_is_typed_by_its_field(assignment: str, name: str, value: Any) -> None:
    parsed = getattr(parse_options(Everything, [assignment], "-M"), name)
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_rest_keeps_its_defaults() -> None:
    assert parse_options(Everything, [], "-M") == Everything()
    assert parse_options(Everything, ["count=4", "strict=on"], "-M") == Everything(count=4, strict=True)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("count", "name=value"),
        ("=3", "name=value"),
        ("count=0", "count must be 1 to 9"),
        ("count=10", "count must be 1 to 9"),
        ("count=2.0", "count must be a whole number"),
        ("count=", "count must be a whole number"),
        ("count=true", "count must be a whole number"),
        ("share=1.01", "share must be 0.0 to 1.0"),
        ("share=nan", "finite"),
        ("share=-inf", "finite"),
        ("share=1e999", "finite"),
        ("share=half", "share must be a number"),
        ("strict=maybe", "strict must be true or false"),
        ("shape=rond", "one of round, square. Did you mean 'round'?"),
        ("side=middle", "one of left, right, 3"),
        ("limit=-1", "limit must be at least 0.0"),
        ("limit=inf", "finite"),
        ("method=exat", "one of fast, exact. Did you mean 'exact'?"),
        ("cuont=3", "there is no option 'cuont'. Did you mean 'count'? Known: count, share"),
    ],
)
def test_a_wrong_value_is_a_usage_error_that_says_what_to_do(assignment: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(Everything, [assignment], "-F")
    assert str(caught.value).startswith(f"-F {assignment}: ")
    assert said in str(caught.value)


def test_hyphens_stand_for_underscores_and_twice_is_refused() -> None:
    @dataclass(frozen=True)
    class Named:
        reproj_th: float = 8.0

    assert parse_options(Named, ["reproj-th=4"], "-F").reproj_th == 4.0
    with pytest.raises(UsageError, match="'reproj_th' is given twice"):
        parse_options(Named, ["reproj-th=4", "reproj_th=5"], "-F")


def test_a_plugin_without_options_says_so() -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    with pytest.raises(UsageError, match=r"there is no option 'k'. It has no options"):
        parse_options(Nothing, ["k=1"], "-M")


def test_a_check_across_fields_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="low must not exceed high"):
        parse_options(Ordered, ["low=5"], "-M")


def test_options_are_described_in_words() -> None:
    rows = {row.name: row for row in describe_options(Everything)}
    assert rows["count"] == OptionRow("count", "whole number", "3", "1 to 9", "how many")
    assert rows["strict"] == OptionRow("strict", "true or false", "false", "", "")
    assert rows["shape"] == OptionRow("shape", "choice", "round", "one of round, square", "")
    assert rows["limit"] == OptionRow("limit", "number or none", "none", "at least 0.0", "")
    assert list(rows) == ["count", "share", "strict", "label", "shape", "side", "limit", "method"]


def test_the_default_shown_is_a_value_that_parses_back() -> None:
    given = [f"{row.name}={row.default}" for row in describe_options(Everything)]
    assert parse_options(Everything, given, "-M") == Everything()


def test_options_become_plain_json() -> None:
    as_dict = options_as_dict(Everything(shape=Shape.SQUARE, limit=2.0))
    assert json.loads(json.dumps(as_dict)) == {
        "count": 3,
        "share": 0.5,
        "strict": False,
        "label": "none at all",
        "shape": "square",
        "side": "left",
        "limit": 2.0,
        "method": "fast",
    }
    assert type(as_dict["shape"]) is str


def test_made_options_are_frozen() -> None:
    parsed = parse_options(Everything, ["count=4"], "-M")
    with pytest.raises(FrozenInstanceError):
        parsed.count = 5  # type: ignore[misc]


def _not_frozen() -> Any:
    @dataclass
    class Loose:
        k: int = 1

    return Loose


def _without_default() -> Any:
    @dataclass(frozen=True)
    class Demanding:
        k: int

    return Demanding


def _made(hint: Any, default: Any) -> Any:
    return dataclass(frozen=True)(type("Odd", (), {"__annotations__": {"k": hint}, "k": default}))


@pytest.mark.parametrize(
    ("options_type", "said"),
    [
        (int, "must be a dataclass"),
        (Everything(), "must be a dataclass type"),
        (_not_frozen(), "must be frozen"),
        (_without_default(), "k has no default"),
        (_made(int, field(default_factory=int)), "k has no default"),
        (_made(dict, None), "not understood"),
        (_made(int | str, 1), "several kinds"),
        (_made("Undefined", 1), "cannot be resolved"),
        (_made(int, 1.5), "is no whole number"),
        (_made(int, True), "is no whole number"),
        (_made(int, None), "is no whole number"),
        (_made(float, float("nan")), "is no number"),
        (_made(int, option(0, minimum=1)), "must be at least 1"),
        (_made(str, option("c", choices=("a", "b"))), "must be one of a, b"),
    ],
)
def test_a_wrong_options_type_is_a_plugin_error(options_type: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        check_options_type(options_type)


def test_right_options_types_pass() -> None:
    check_options_type(Everything)
    check_options_type(Ordered)


def test_defaults_that_refuse_themselves_are_a_plugin_error() -> None:
    @dataclass(frozen=True)
    class Contrary:
        k: int = 1

        def __post_init__(self) -> None:
            raise ValueError("never")

    with pytest.raises(PluginError, match="cannot be made from its defaults: never"):
        check_options_type(Contrary)


def _matcher(mode: Any) -> MatcherRecord:
    def factory() -> Any:
        return lambda a, b, options: Matches.best_first([], [], [])  # type: ignore[arg-type]

    return MatcherRecord("ordered", "", Ordered, factory, mode)


def test_the_matching_mode_is_the_records_own_or_names_every_option() -> None:
    assert matching_mode(_matcher(lambda options: f"own_{options.low}"), Ordered()) == "own_1"
    assert matching_mode(_matcher(None), Ordered(high=7)) == "ordered_low1_high7_unique"


def test_an_unsupported_robust_method_names_the_supported_ones() -> None:
    @dataclass(frozen=True)
    class Robust:
        ransac_method: str = "one"

    record = FilterRecord("flat", "", Robust, lambda: lambda a, b, o: None, ModelKind.POINT_MAP, 3, ("one", "two"))  # type: ignore[arg-type,return-value]
    check_ransac_method(record, Robust("two"))
    with pytest.raises(UsageError, match=r"the filter 'flat' does not support 'three'. It supports: one, two"):
        check_ransac_method(record, Robust("three"))


BUILT_IN = load_registry(BUILTINS, entry_points=False)
TYPES = [record.options for record in (*BUILT_IN.matchers.values(), *BUILT_IN.filters.values())]
NAMES = sorted({row.name for options in TYPES for row in describe_options(options)})
VALUES = ("", "0", "1", "-1", "1e9", "nan", "inf", "-inf", "1e999", "true", "usac_magsac", "1.0", "9" * 400, "1_0", "٤")


def test_thousands_of_assignments_are_read_or_refused_with_the_flag() -> None:
    rng, read = random.Random(0), 0
    for _ in range(10_000):
        options, assignments = rng.choice(TYPES), []
        for _ in range(rng.randrange(4)):
            known = sorted(row.name for row in describe_options(options)) or NAMES
            name = rng.choice(rng.choice((known, known, NAMES))) if rng.random() < 0.9 else rng.choice(("", " ", "-é"))
            assignments.append(f"{name}{rng.choice('==== :')}{rng.choice(VALUES)}")
        refused = ""
        try:
            parsed = parse_options(options, assignments, "-M")
        except UsageError as error:
            refused = str(error)
        else:
            assert isinstance(parsed, options)
            read += bool(assignments)
        assert not refused or refused.startswith("-M ")
    assert read > 50
