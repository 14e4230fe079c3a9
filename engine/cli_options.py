"""Fields of the dataclasses that options of a command are declared with (see `argparse_dataclass`)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


def option(
    default: Any,
    *flags: str,
    help: str,
    type: Callable[[str], Any] | None = None,
    nargs: str | None = None,
    metavar: str | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """One option of a command.

    The default is written into the help text, as argparse itself only knows a placeholder of `argparse_dataclass`.

    Args:
        default: the value when the option is not given. None, False and an empty tuple are not shown in the help.
        flags: long and short form, `-x` and `--long-name`; a single word without dashes for a positional argument;
            none for `--field-name`.
        help: one line, with the unit.
        type: makes the value from text; needed wherever the field's type cannot be called, as `int | None`.
        nargs: `*` or `+` for a list.
        metavar: what stands for the value in the help; numbers have one of their own.
        choices: the only values allowed.
    """
    shown = default is not None and default is not False and default != ()
    text = help.replace("%", "%%")
    words = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    given = {
        "args": list(flags) or None,
        "help": f"{text} (default: {words.replace('%', '%%')})" if shown else text,
        "type": type,
        "nargs": nargs,
        "metavar": metavar or (None if choices else getattr(type, "metavar", None)),
        "choices": choices,
    }
    return dataclasses.field(
        default=default, metadata={name: value for name, value in given.items() if value is not None}
    )
