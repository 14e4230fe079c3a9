"""What may follow on a command line: options of each command, and the kinds of value they take."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from engine.plugin_registry import Registry
from engine.providers import AUTO, PROVIDERS
from models.catalogue import BACKBONES, Group


class ValueKind(StrEnum):
    """What the value of an option is."""

    NONE = "none"
    WORDS = "words"
    IMAGE = "image"
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True)
class OptionWords:
    """One option, or (without names) the positional arguments.

    Attributes:
        names: short and long forms.
        help: one line.
        kind: what its value is.
        words: the values there are, of the kind `words`.
        several: whether more than one value may follow.
    """

    names: tuple[str, ...]
    help: str
    kind: ValueKind
    words: tuple[str, ...] = ()
    several: bool = False


@dataclass(frozen=True)
class CommandWords:
    """A command: its help in one line, and its options."""

    help: str
    options: tuple[OptionWords, ...]


def words_of(help: str, actions: Iterable[argparse.Action], registry: Registry) -> CommandWords:
    """What may follow a command, from the actions of its parser."""
    return CommandWords(help, tuple(_option(action, registry) for action in actions))


def _option(action: argparse.Action, registry: Registry) -> OptionWords:
    kind, words = _values(action, registry)
    text = " ".join((action.help or "").replace("%%", "%").split())
    return OptionWords(tuple(action.option_strings), text, kind, words, action.nargs in ("+", "*"))


def _values(action: argparse.Action, registry: Registry) -> tuple[ValueKind, tuple[str, ...]]:
    if action.nargs == 0:
        return ValueKind.NONE, ()
    if action.choices is not None:
        return ValueKind.WORDS, tuple(str(choice) for choice in action.choices)
    known: dict[str, tuple[str, ...]] = {
        "weights": tuple(BACKBONES),
        "group": tuple(group.value for group in Group),
        "matcher": tuple(registry.matchers),
        "filter": tuple(registry.filters),
        "ransac": ("off", *registry.filters),
        "ransac_method": tuple(dict.fromkeys(m for entry in registry.filters.values() for m in entry.ransac_methods)),
        "runtime": tuple(registry.runtimes),
        "provider": (AUTO, *PROVIDERS),
    }
    if action.dest in known:
        return ValueKind.WORDS, tuple(dict.fromkeys(known[action.dest]))
    by_metavar = {
        "IMAGE": ValueKind.IMAGE,
        "DIR": ValueKind.FOLDER,
        "FILE": ValueKind.FILE,
        "JSON": ValueKind.FILE,
    }
    return by_metavar.get(str(action.metavar), ValueKind.OTHER), ()
