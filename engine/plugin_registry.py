"""The registry of plugins: built-in ones, which must load, and those of installed packages, which may fail alone.

Every call makes a fresh plugin manager; nothing is kept between calls.
"""

import difflib
import importlib.metadata
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pluggy

from engine.errors import PluginError, UsageError
from engine.hooks import PROJECT_NAME, FilterRecord, Hooks, MatcherRecord, ModelKind, RuntimeRecord
from engine.plugin_options import check_options_type

Record = MatcherRecord | FilterRecord | RuntimeRecord
R = TypeVar("R", MatcherRecord, FilterRecord, RuntimeRecord)

BUILT_IN = "built in"

_RECORD_OF_HOOK: dict[str, tuple[str, type[Any]]] = {
    "engine_matchers": ("matcher", MatcherRecord),
    "engine_filters": ("filter", FilterRecord),
    "engine_runtimes": ("runtime", RuntimeRecord),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class PluginProblem:
    """A plugin of an installed package that was left out.

    Attributes:
        distribution: name and version of the package.
        name: name of its entry point.
        reason: what is wrong, in one line.
    """

    distribution: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"plugin '{self.name}' of {self.distribution} is left out: {self.reason}"


@dataclass(frozen=True, eq=False)
class Registry:
    """What is on offer, by name.

    Attributes:
        problems: plugins that were left out, and why.
        origins: (kind, name) to the distribution and its version, or `built in`.
    """

    matchers: dict[str, MatcherRecord] = field(default_factory=dict)
    filters: dict[str, FilterRecord] = field(default_factory=dict)
    runtimes: dict[str, RuntimeRecord] = field(default_factory=dict)
    problems: tuple[PluginProblem, ...] = ()
    origins: dict[tuple[str, str], str] = field(default_factory=dict)

    def origin(self, record: Record) -> str:
        """Name and version of the distribution that brought a record, or `built in`."""
        return self.origins[_kind(record), record.name]

    def matcher(self, name: str) -> MatcherRecord:
        """The matcher of this name.

        Raises:
            UsageError: there is none; the message suggests the nearest and lists all.
        """
        return self._find(self.matchers, name, "matcher")

    def filter(self, name: str) -> FilterRecord:
        """The filter of this name; errors as for `matcher`."""
        return self._find(self.filters, name, "filter")

    def runtime(self, name: str) -> RuntimeRecord:
        """The runtime of this name; errors as for `matcher`."""
        return self._find(self.runtimes, name, "runtime")

    def _find(self, records: Mapping[str, R], name: str, kind: str) -> R:
        if name in records:
            return records[name]
        near = difflib.get_close_matches(name, records, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        known = ", ".join(records) or "none"
        left_out = "".join(f"; {problem}" for problem in self.problems)
        raise UsageError(f"no {kind} is called '{name}'.{hint} Known: {known}{left_out}")


def load_registry(builtins: Sequence[Any], entry_points: bool = True) -> Registry:
    """Loads the built-in plugins, then those of installed packages, one by one.

    Args:
        builtins: modules or objects with hooks.
        entry_points: whether to load the entry points of group `dinov3_match`.

    Raises:
        PluginError: a built-in plugin is at fault, or two records of one kind have one name.
    """
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(Hooks)
    found: list[tuple[Record, str]] = []
    problems: list[PluginProblem] = []
    for plugin in builtins:
        name = getattr(plugin, "__name__", repr(plugin))
        try:
            found += [(record, BUILT_IN) for record in _register(manager, plugin, name)]
        except PluginError as error:
            raise PluginError(f"the built-in plugin {name} is at fault: {error}. Reinstall dinov3-match") from error
    for distribution, origin in _distributions() if entry_points else ():
        entries, problem = _entries(distribution, origin)
        problems += [problem] if problem else []
        for entry in entries:
            try:
                records = _register(manager, _load(entry), f"{origin}: {entry.name}")
            except PluginError as error:
                problems.append(PluginProblem(origin, entry.name, str(error)))
            else:
                found += [(record, origin) for record in records]
    return _collect(found, tuple(problems))


def _collect(found: list[tuple[Record, str]], problems: tuple[PluginProblem, ...]) -> Registry:
    registry = Registry(problems=problems)
    for record, origin in found:
        key = (_kind(record), record.name)
        if key in registry.origins:
            raise PluginError(
                f"two {key[0]}s are called '{record.name}': one of {_provider(registry.origins[key])}, one of "
                f"{_provider(origin)}. Uninstall one of the packages, or rename one"
            )
        registry.origins[key] = origin
        if isinstance(record, MatcherRecord):
            registry.matchers[record.name] = replace(record, origin=_provider(origin))
        elif isinstance(record, FilterRecord):
            registry.filters[record.name] = replace(record, origin=_provider(origin))
        else:
            registry.runtimes[record.name] = record
    return registry


def _provider(origin: str) -> str:
    return "dinov3-match itself" if origin == BUILT_IN else origin


def _kind(record: Record) -> str:
    return next(kind for kind, record_type in _RECORD_OF_HOOK.values() if isinstance(record, record_type))


def _distributions() -> Iterator[tuple[importlib.metadata.Distribution, str]]:
    """Installed distributions with entry points of ours, each once, with name and version; in order of their names.

    The text is looked at first, because one damaged file among all the packages installed would make
    `importlib.metadata.entry_points` fail as a whole.
    """
    found: dict[str, tuple[importlib.metadata.Distribution, str]] = {}
    for distribution in importlib.metadata.distributions():
        if PROJECT_NAME not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name = distribution.metadata["Name"] or "a package without a name"
        normalised = re.sub(r"[-_.]+", "-", name).lower()
        # An earlier folder of the path hides later ones, as it does for imports.
        found.setdefault(normalised, (distribution, f"{name} {distribution.metadata['Version'] or '(no version)'}"))
    for normalised in sorted(found):
        yield found[normalised]


def _entries(
    distribution: importlib.metadata.Distribution, origin: str
) -> tuple[list[importlib.metadata.EntryPoint], PluginProblem | None]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group == PROJECT_NAME]
    except Exception as error:
        return [], PluginProblem(origin, "entry_points.txt", f"the file cannot be read: {_reason(error)}")
    return sorted(entries, key=lambda entry: entry.name), None


def _load(entry: importlib.metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{entry.value} cannot be imported: {_reason(error)}") from error


def _register(manager: pluggy.PluginManager, plugin: Any, name: str) -> list[Record]:
    """Registers a plugin and takes its records; a plugin at fault in any way is unregistered as a whole."""
    if manager.is_registered(plugin):
        raise PluginError("the same object is registered already under another name")
    try:
        try:
            manager.register(plugin, name)
            manager.check_pending()
        except Exception as error:
            raise PluginError(_reason(error)) from error
        return _records_of(manager, plugin)
    except PluginError:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise


def _records_of(manager: pluggy.PluginManager, plugin: Any) -> list[Record]:
    # Each hook function is called by itself rather than through the manager, so that a failure and every record have
    # an owner, and a forgotten `return` does not pass for an empty offer.
    records: list[Record] = []
    for caller in manager.get_hookcallers(plugin) or []:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                records += _records_of_hook(caller.name, implementation)
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"it has no hook: mark {', '.join(_RECORD_OF_HOOK)} with @hookimpl")
    return records


def _records_of_hook(hook: str, implementation: pluggy.HookImpl) -> list[Record]:
    _, record_type = _RECORD_OF_HOOK[hook]
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(f"{hook} is a hook wrapper: a plugin may only add records of its own")
    try:
        result: Any = implementation.function()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{hook} failed: {_reason(error)}") from error
    if not isinstance(result, list | tuple):
        raise PluginError(f"{hook} must return a list of {record_type.__name__}, not {type(result).__name__}")
    for record in result:
        if not isinstance(record, record_type):
            raise PluginError(f"{hook} must return a list of {record_type.__name__}, not of {type(record).__name__}")
        try:
            _check_record(record)
        except PluginError as error:
            raise PluginError(f"{hook}, record '{record.name}': {error}") from error
    return list(result)


def _check_record(record: Record) -> None:
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        raise PluginError("a name must consist of letters, digits and _ . + -")
    if not callable(record.factory):
        raise PluginError("the factory must be callable")
    if isinstance(record, RuntimeRecord):
        if not record.suffixes or not all(suffix.startswith(".") for suffix in record.suffixes):
            raise PluginError("suffixes must be a tuple such as ('.onnx',)")
        return
    check_options_type(record.options)
    if isinstance(record, FilterRecord):
        if not isinstance(record.kind, ModelKind):
            raise PluginError("kind must be a ModelKind")
        default = getattr(record.options(), "ransac_method", None)
        if (default is not None or record.ransac_methods) and default not in record.ransac_methods:
            raise PluginError(f"the option ransac_method and ransac_methods disagree: the default is {default!r}")


def _reason(error: BaseException) -> str:
    lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return f"{type(error).__name__}: {lines}" if lines else type(error).__name__
