"""The registry: built-in plugins must load; a package's plugin may fail alone; names are unique."""

import importlib
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import FilterRecord, MatcherRecord, ModelKind, RuntimeRecord, UsageError, hookimpl
from engine.errors import PluginError
from engine.plugin_registry import load_registry

GOOD = """
    from dataclasses import dataclass
    from engine import MatcherRecord, hookimpl, option

    @dataclass(frozen=True)
    class Options:
        k: int = option(2, minimum=1)

    def match(a, b, options):
        raise NotImplementedError

    @hookimpl
    def engine_matchers():
        return [MatcherRecord("{name}", "from a package", Options, lambda: match)]
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module with one entry point, as pip lays it out, into a folder on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules: list[str] = []

    def make(distribution: str, source: str, version: str = "1.2", entry: str = "", points: str | None = None) -> None:
        module = distribution.replace("-", "_")
        modules.append(module)
        (folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", "utf-8")
        text = f"[dinov3_match]\n{entry or module} = {module}\n" if points is None else points
        (info / "entry_points.txt").write_text(text, "utf-8")
        importlib.invalidate_caches()

    yield make
    for module in modules:
        sys.modules.pop(module, None)


@dataclass(frozen=True)
class NoOptions:
    pass


def _match(a: Any, b: Any, options: Any) -> Any:
    raise NotImplementedError


def _matcher(name: str, options: Any = NoOptions) -> MatcherRecord:
    return MatcherRecord(name, "", options, lambda: _match)


def _filter(name: str, options: Any = NoOptions, **values: Any) -> FilterRecord:
    return FilterRecord(name, "", options, lambda: _match, ModelKind.POINT_MAP, 4, **values)


def _plugin(name: str = "plugin", **hooks: Callable[[], Any]) -> Any:
    return SimpleNamespace(__name__=name, **{hook: hookimpl(function) for hook, function in hooks.items()})


def test_builtins_are_collected_by_kind_in_order() -> None:
    runtime = RuntimeRecord("rt", "", (".onnx",), lambda: _match)
    registry = load_registry(
        [
            _plugin("one", engine_matchers=lambda: [_matcher("b"), _matcher("a")]),
            _plugin("two", engine_filters=lambda: [_filter("a")], engine_runtimes=lambda: (runtime,)),
        ],
        entry_points=False,
    )
    assert list(registry.matchers) == ["b", "a"]
    assert list(registry.filters) == ["a"]
    assert registry.runtime("rt") is runtime
    assert registry.problems == ()
    assert {registry.origin(record) for record in registry.matchers.values()} == {"built in"}


def test_every_call_is_fresh() -> None:
    plugin = _plugin(engine_matchers=lambda: [_matcher("a")])
    first, second = (load_registry([plugin], entry_points=False) for _ in range(2))
    assert list(first.matchers) == list(second.matchers) == ["a"]
    assert load_registry([], entry_points=False).matchers == {}


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    registry = load_registry([_plugin(engine_matchers=lambda: [_matcher("mutual_knn"), _matcher("ratio_test")])], False)
    with pytest.raises(UsageError, match=r"no matcher is called 'mutal_knn'. Did you mean 'mutual_knn'"):
        registry.matcher("mutal_knn")
    with pytest.raises(UsageError, match="Known: mutual_knn, ratio_test"):
        registry.matcher("zzz")
    with pytest.raises(UsageError, match=r"no filter is called 'zzz'. Known: none"):
        registry.filter("zzz")
    with pytest.raises(UsageError, match="no runtime is called 'zzz'"):
        registry.runtime("zzz")


def test_the_plugin_of_a_package_joins_with_its_origin(install: Install) -> None:
    install("field-matcher", GOOD.format(name="field"), version="3.1")
    registry = load_registry([_plugin(engine_matchers=lambda: [_matcher("own")])])
    assert registry.problems == ()
    assert list(registry.matchers) == ["own", "field"]
    assert registry.origin(registry.matcher("field")) == "field-matcher 3.1"
    assert registry.matcher("field").options().k == 2
    assert list(load_registry([], entry_points=False).matchers) == []


BROKEN = {
    "import": ("import a_module_that_is_not_there", "cannot be imported: ModuleNotFoundError: No module named"),
    "syntax": ("def broken(:", "cannot be imported: SyntaxError"),
    "exit": ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    "raises": (
        "from engine import hookimpl\n@hookimpl\ndef engine_matchers():\n    raise RuntimeError('two\\nlines')",
        "engine_matchers failed: RuntimeError: two lines",
    ),
    "misspelt": (
        "from engine import hookimpl\n@hookimpl\ndef engine_matcher():\n    return []",
        "unknown hook 'engine_matcher'",
    ),
    "argument": (
        "from engine import hookimpl\n@hookimpl\ndef engine_matchers(wrong):\n    return []",
        "wrong",
    ),
    "unmarked": ("def engine_matchers():\n    return []", "it has no hook"),
    "forgotten_return": (
        "from engine import hookimpl\n@hookimpl\ndef engine_matchers():\n    pass",
        "must return a list of MatcherRecord, not NoneType",
    ),
    "no_record": (
        "from engine import hookimpl\n@hookimpl\ndef engine_matchers():\n    return ['mine']",
        "must return a list of MatcherRecord, not of str",
    ),
    "wrapper": (
        "from engine import hookimpl\n@hookimpl(wrapper=True)\ndef engine_matchers():\n    return (yield)",
        "hook wrapper",
    ),
    "bad_name": (GOOD.format(name="two words"), "record 'two words': a name must consist of"),
    "bad_options": (
        GOOD.format(name="x").replace("(frozen=True)", "()"),
        "record 'x': options Options must be frozen",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_by_name_and_skipped_alone(install: Install, case: str) -> None:
    source, reason = BROKEN[case]
    install("broken-one", source, entry="the_plugin")
    install("good-one", GOOD.format(name="good"))
    registry = load_registry([_plugin(engine_matchers=lambda: [_matcher("own")])])
    assert list(registry.matchers) == ["own", "good"]
    [problem] = registry.problems
    assert (problem.distribution, problem.name) == ("broken-one 1.2", "the_plugin")
    assert reason in problem.reason
    assert "\n" not in str(problem)
    with pytest.raises(UsageError, match=r"plugin 'the_plugin' of broken-one 1.2 is left out"):
        registry.matcher("mine")


def test_one_failing_hook_leaves_out_the_whole_plugin(install: Install) -> None:
    half = textwrap.dedent(GOOD.format(name="half")) + "\n@hookimpl\ndef engine_filters():\n    return 1 / 0\n"
    install("half-broken", half)
    registry = load_registry([])
    assert registry.matchers == {}
    assert "engine_filters failed: ZeroDivisionError" in registry.problems[0].reason


def test_a_damaged_entry_point_file_is_reported(install: Install) -> None:
    install("damaged-file", GOOD.format(name="x"), points="[dinov3_match]\nno equals sign here\n")
    install("good-one", GOOD.format(name="good"))
    registry = load_registry([])
    assert list(registry.matchers) == ["good"]
    assert [problem.distribution for problem in registry.problems] == ["damaged-file 1.2"]


def test_entry_points_of_other_groups_are_not_loaded(install: Install) -> None:
    install("unrelated", "raise RuntimeError", points="[dinov3_match_other]\nx = unrelated\n")
    registry = load_registry([])
    assert (registry.problems, registry.matchers) == ((), {})
    assert "unrelated" not in sys.modules


def test_two_records_of_one_name_are_an_error_naming_both(install: Install) -> None:
    install("first-pack", GOOD.format(name="same"), version="1.0")
    install("second-pack", GOOD.format(name="same"), version="2.0")
    with pytest.raises(
        PluginError, match=r"two matchers are called 'same': one of first-pack 1.0, one of second-pack 2.0"
    ):
        load_registry([])


def test_a_package_cannot_replace_a_builtin(install: Install) -> None:
    install("first-pack", GOOD.format(name="own"))
    with pytest.raises(PluginError, match=r"one of dinov3-match itself, one of first-pack 1.2"):
        load_registry([_plugin(engine_matchers=lambda: [_matcher("own")])])


def test_one_name_for_two_kinds_is_fine() -> None:
    plugin = _plugin(engine_matchers=lambda: [_matcher("x")], engine_filters=lambda: [_filter("x")])
    registry = load_registry([plugin], entry_points=False)
    assert registry.matcher("x").name == registry.filter("x").name


@dataclass(frozen=True)
class RobustOptions:
    ransac_method: str = "a"


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (_plugin(engine_matchers=lambda: 1 / 0), "engine_matchers failed: ZeroDivisionError"),
        (_plugin(engine_matcher=lambda: [_matcher("x")]), "unknown hook 'engine_matcher'"),
        (_plugin(), "it has no hook"),
        (_plugin(engine_matchers=lambda: [_filter("x")]), "not of FilterRecord"),
        (_plugin(engine_matchers=lambda: [_matcher("x", int)]), "must be a dataclass"),
        (_plugin(engine_matchers=lambda: [_matcher("")]), "a name must consist"),
        (_plugin(engine_matchers=lambda: [MatcherRecord("x", "", NoOptions, None)]), "factory must be callable"),  # type: ignore[arg-type]
        (_plugin(engine_runtimes=lambda: [RuntimeRecord("x", "", (), lambda: _match)]), "suffixes"),
        (_plugin(engine_runtimes=lambda: [RuntimeRecord("x", "", ("onnx",), lambda: _match)]), "suffixes"),
        (_plugin(engine_filters=lambda: [_filter("x", ransac_methods=("a",))]), "ransac_methods disagree"),
        (_plugin(engine_filters=lambda: [_filter("x", RobustOptions)]), "ransac_methods disagree"),
        (
            _plugin(engine_filters=lambda: [_filter("x", RobustOptions, ransac_methods=("b",))]),
            "ransac_methods disagree",
        ),
    ],
)
def test_a_builtin_at_fault_stops_the_program(plugin: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said) as caught:
        load_registry([plugin], entry_points=False)
    assert "the built-in plugin plugin is at fault" in str(caught.value)
