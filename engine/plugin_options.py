"""A plugin's own options: declared as a frozen dataclass, given as `name=value`, typed and checked here.

Understood field types: int, float, bool, str, an Enum, a Literal, and any of them with `| None`.
"""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.errors import PluginError, UsageError
from engine.hooks import FilterRecord, MatcherRecord
from engine.suggest import did_you_mean

T = TypeVar("T")

_METADATA_KEY = "dinov3_match.option"
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_NONE = "none"
_SEE = "See 'engine plugins'"
_SIMPLE_TYPES: dict[type, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class _Limits:
    """What `option` knows of a field besides its type and default."""

    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class OptionRow:
    """One option as `engine plugins` lists it, all in words: `range` is empty where any value of the type will do."""

    name: str
    type: str
    default: str
    range: str
    help: str


@dataclass(frozen=True)
class _Field:
    """One option with its type taken apart: `base` without `| None`, and what it may be."""

    name: str
    base: Any
    optional: bool
    default: Any
    limits: _Limits

    @property
    def choices(self) -> tuple[Any, ...]:
        if self.limits.choices:
            return self.limits.choices
        if typing.get_origin(self.base) is typing.Literal:
            return typing.get_args(self.base)
        return tuple(self.base) if isinstance(self.base, enum.EnumMeta) else ()

    @property
    def type_name(self) -> str:
        return _SIMPLE_TYPES.get(self.base, "choice") + (" or none" if self.optional else "")


def option(
    default: Any,
    *,
    help: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] = (),
) -> Any:
    """A field of a plugin's options dataclass.

    Args:
        default: the value when the user gives none; immutable.
        help: one line, with the unit.
        minimum: smallest value allowed; `maximum` the largest. Both are themselves allowed.
        choices: the only values allowed; a Literal or an Enum brings its own.
    """
    limits = _Limits(help, minimum, maximum, tuple(choices))
    return dataclasses.field(default=default, metadata={_METADATA_KEY: limits})


def check_options_type(options_type: Any) -> None:
    """Makes sure a plugin's options can be shown and parsed.

    Raises:
        PluginError: not a frozen dataclass, a field without default, a type not understood, or a default out of range.
    """
    name = getattr(options_type, "__name__", repr(options_type))
    if not isinstance(options_type, type) or not dataclasses.is_dataclass(options_type):
        raise PluginError(f"options {name} must be a dataclass type")
    if not getattr(options_type, "__dataclass_params__").frozen:  # noqa: B009 (not in the type's stub)
        raise PluginError(f"options {name} must be frozen: write @dataclass(frozen=True)")
    for entry in _fields(options_type):
        if entry.default is None and entry.optional:
            continue
        if entry.default is None or not _is_of_type(entry.default, entry.base):
            raise PluginError(f"options {name}: the default {entry.default!r} of {entry.name} is no {entry.type_name}")
        problem = _range_problem(entry, entry.default)
        if problem:
            raise PluginError(f"options {name}: the default {_shown(entry.default)} of {entry.name} {problem}")
    try:
        options_type()
    except Exception as error:
        raise PluginError(f"options {name} cannot be made from its defaults: {error}") from error


def parse_options(
    options_type: type[T], assignments: Sequence[str], flag: str, typed: Mapping[str, str] | None = None
) -> T:
    """An instance of a plugin's options, from the defaults and what the user gave.

    Args:
        options_type: frozen dataclass, as in a plugin's record.
        assignments: `name=value` each; in names `-` may stand for `_`.
        flag: the command-line option they were given with, for messages: `-M`, `-F`.
        typed: of assignments that were not given so, what the user did write, such as `--reproj-th 16 with
            --filter off`.

    Raises:
        UsageError: not `name=value`, no such option (the nearest is suggested), given twice, of another type or out of
            range.
        PluginError: the dataclass itself is at fault.
    """
    known = {entry.name: entry for entry in _fields(options_type)}
    values: dict[str, Any] = {}
    typed = typed or {}
    for assignment in assignments:
        where = typed.get(assignment, f"{flag} {assignment}")
        given, equals, text = assignment.partition("=")
        name = given.strip().replace("-", "_")
        if not equals or not name:
            raise UsageError(f"{where}: write it as name=value. {_known(known)}")
        if name not in known and assignment in typed:
            raise UsageError(f"{where}: there is no such option")
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"{where}: there is no option '{name}'.{hint} {_known(known)}")
        if name in values:
            raise UsageError(f"{where}: '{name}' is given twice; give it once")
        entry = dataclasses.replace(known[name], name="the value") if assignment in typed else known[name]
        values[name] = _parse_value(entry, text.strip(), where)
    try:
        return options_type(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{flag} {' '.join(assignments)}: {error}") from error


def describe_options(options_type: Any) -> tuple[OptionRow, ...]:
    """The options of a plugin in words, in the order of the dataclass."""
    return tuple(
        OptionRow(entry.name, entry.type_name, _shown(entry.default), _range_text(entry), entry.limits.help)
        for entry in _fields(options_type)
    )


def options_as_dict(options: Any) -> dict[str, Any]:
    """Name to value of every option, JSON-ready: an Enum member becomes its value."""
    values = {entry.name: getattr(options, entry.name) for entry in dataclasses.fields(options)}
    return {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}


def as_typed(value: Any) -> str:
    """A value as a user would type it: `16` and not `16.0`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else _shown(value)


def matching_mode(record: MatcherRecord, options: Any) -> str:
    """A matcher and its options in one word, for the `matching_mode` of result files: `mutual_knn_k1_unique`.

    A record without a `mode` of its own gets its name and every option, then `_unique`, as all matches are one-to-one.
    """
    if record.mode is not None:
        return record.mode(options)
    values = "".join(f"_{name}{_shown(value)}" for name, value in options_as_dict(options).items())
    return f"{record.name}{values}_unique"


def check_ransac_method(record: FilterRecord, options: Any) -> None:
    """Makes sure a filter supports the robust method chosen; filters without one pass.

    Raises:
        UsageError: it does not; the message names those it does.
    """
    method = getattr(options, "ransac_method", None)
    if method is not None and method not in record.ransac_methods:
        supported = ", ".join(record.ransac_methods) or "none"
        hint = did_you_mean(str(method), record.ransac_methods)
        raise UsageError(
            f"the filter '{record.name}' does not support '{method}'. It supports: {supported}.{hint} {_SEE}"
        )


def _fields(options_type: Any) -> tuple[_Field, ...]:
    try:
        hints = typing.get_type_hints(options_type)
    except Exception as error:
        raise PluginError(f"options {options_type.__name__}: a type cannot be resolved ({error})") from error
    return tuple(_field(options_type, entry, hints[entry.name]) for entry in dataclasses.fields(options_type))


def _field(options_type: Any, entry: "dataclasses.Field[Any]", hint: Any) -> _Field:
    where = f"options {options_type.__name__}: {entry.name}"
    if entry.default is dataclasses.MISSING:
        raise PluginError(f"{where} has no default: give one with option(...)")
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) != 1:
            raise PluginError(f"{where} has a type of several kinds; only 'X | None' is understood")
        optional, hint = True, members[0]
    is_choice = typing.get_origin(hint) is typing.Literal or isinstance(hint, enum.EnumMeta)
    if hint not in _SIMPLE_TYPES and not is_choice:
        raise PluginError(f"{where} has a type that is not understood; use int, float, bool, str, Enum or Literal")
    return _Field(entry.name, hint, optional, entry.default, entry.metadata.get(_METADATA_KEY, _Limits()))


def _is_of_type(value: Any, base: Any) -> bool:
    if typing.get_origin(base) is typing.Literal:
        return value in typing.get_args(base)
    if base is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, base) and (base is not int or not isinstance(value, bool))


def _parse_value(entry: _Field, text: str, where: str) -> Any:
    if entry.optional and text.lower() == _NONE:
        return None
    if entry.choices:
        for choice in entry.choices:
            if text == _shown(choice):
                return choice
        hint = did_you_mean(text, map(_shown, entry.choices))
        raise UsageError(f"{where}: {entry.name} must be {_range_text(entry)}.{hint} {_SEE}")
    value = _convert(entry, text, where)
    problem = _range_problem(entry, value)
    if problem:
        raise UsageError(f"{where}: {entry.name} {problem}")
    return value


def _convert(entry: _Field, text: str, where: str) -> Any:
    if entry.base is str:
        return text
    if entry.base is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"{where}: {entry.name} must be true or false")
    try:
        value = entry.base(text)
    except ValueError as error:
        raise UsageError(f"{where}: {entry.name} must be a {entry.type_name}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: {entry.name} must be a finite number")
    return value


def _range_problem(entry: _Field, value: Any) -> str | None:
    limits = entry.limits
    outside = (
        (limits.choices and value not in limits.choices)
        or (limits.minimum is not None and value < limits.minimum)
        or (limits.maximum is not None and value > limits.maximum)
    )
    return f"must be {_range_text(entry)}" if outside else None


def _range_text(entry: _Field) -> str:
    if entry.choices:
        return "one of " + ", ".join(_shown(choice) for choice in entry.choices)
    low, high = entry.limits.minimum, entry.limits.maximum
    if low is not None and high is not None:
        return f"{_shown(low)} to {_shown(high)}"
    if low is not None:
        return f"at least {_shown(low)}"
    return f"at most {_shown(high)}" if high is not None else ""


def _shown(value: Any) -> str:
    """A value as a user would type it."""
    if value is None:
        return _NONE
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(known: dict[str, _Field]) -> str:
    return f"Known: {', '.join(known)}" if known else "It has no options"
