"""Argument parser of all sub-commands: options from dataclasses, in sections, with suggestions for typing errors."""

import argparse
import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from argparse_dataclass import ArgumentParser

from engine.cli_sections import COMMON, place, rank, section_of
from engine.suggest import did_you_mean

WIDEST = 100
"""Columns that a help page takes at most; text in longer lines is hard to read."""


class Extend(argparse.Action):
    """Collects the values of an option that may be given several times, such as `-M k=2 -M mutual=true`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        given = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
        setattr(namespace, self.dest, [*before, *given] if isinstance(before, list) else given)


class CommandParser(ArgumentParser):  # type: ignore[misc]
    """Parser of one sub-command."""

    def __init__(self, options_class: type[Any], **keywords: Any) -> None:
        self._sections: dict[str, argparse._ArgumentGroup] = {}
        keywords.setdefault("allow_abbrev", False)
        keywords.setdefault("formatter_class", HelpFormatter)
        super().__init__(options_class, add_help=False, **keywords)
        self.options_class = options_class
        add_log_options(self)
        self.add_argument("-h", "--help", action="help", help="show this page")
        self._action_groups.sort(key=lambda group: rank(group.title or ""))
        for group in self._action_groups:
            group._group_actions.sort(key=lambda action: place(action.dest))
        positional = "".join(
            f" [{action.metavar}{'' if action.nargs == '?' else ' ...'}]"
            for action in self._actions
            if not action.option_strings
        )
        self.usage = f"%(prog)s [options]{positional}"

    def add_argument(self, *names: Any, **keywords: Any) -> argparse.Action:
        if keywords.get("nargs") == "+" and names[0].startswith("-"):
            keywords["action"] = Extend
        field = keywords.get("dest") or names[-1].lstrip("-").replace("-", "_")
        title = section_of(field)
        if title not in self._sections:
            self._sections[title] = self.add_argument_group(title)
        return self._sections[title].add_argument(*names, **keywords)

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The options dataclass's fields with their defaults, the options of logs that were given, and the rest."""
        found, rest = argparse.ArgumentParser.parse_known_args(self, args)
        given = {name: value for name, value in vars(found).items() if value is not dataclasses.MISSING}
        logs = {name: given.pop(name) for name in COMMON if name in given}
        return argparse.Namespace(**vars(self.options_class(**given)), **logs), rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # The words of argparse differ from version to version, and suggest nothing.
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), names)
            raise argparse.ArgumentError(action, f"there is no '{value}'.{hint} Choose from: {', '.join(names)}")

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in one line and where help is: exit code 2."""
        print(f"{self.prog}: {message}\nSee '{self.prog} --help'.", file=sys.stderr)
        raise SystemExit(2)

    def option_strings(self) -> list[str]:
        """All options of this command, long and short."""
        return [name for action in self._actions for name in action.option_strings]

    def own_actions(self) -> list[argparse.Action]:
        """The options of this command alone, in the order of its help, without those that every command has."""
        ordered = [action for group in self._action_groups for action in group._group_actions]
        return [action for action in ordered if action.dest not in COMMON]


def add_log_options(parser: argparse._ActionsContainer) -> None:
    """The options of every command, which may also stand in front of the command."""
    # Without a default here, what stands in front of the command is not overwritten by the command's own default.
    unset = argparse.SUPPRESS
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=unset,
        help="say more, on standard error: the events of the run; -vv: those of each photograph, pair and file",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=unset, help="say nothing but warnings and errors; no progress"
    )
    parser.add_argument(
        "--log-file",
        metavar="FILE",
        default=unset,
        help="append everything to this file, with times and details, whatever is shown",
    )
    parser.add_argument(
        "--json-log",
        metavar="FILE",
        default=unset,
        help="append the events of the run to this file, one JSON object per line",
    )


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wide enough for our option names; keeps the lines of descriptions and examples; names a value once."""

    def __init__(self, prog: str, **keywords: Any) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(prog, max_help_position=34, width=min(columns - 2, WIDEST), **keywords)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            textwrap.fill(line, width, initial_indent=indent, subsequent_indent=indent) for line in text.splitlines()
        )

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            # Under its own heading the list of commands needs no line that says COMMAND.
            return "".join(self._format_action(entry) for entry in action._get_subactions())
        # A word too long for its column, as a regular expression, is whole all the same, so that it can be copied.
        lines = super()._format_action(action).splitlines(keepends=True)
        return "".join(line if len(line) <= self._width + 1 else line.lstrip().rjust(self._width + 1) for line in lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs in ("+", "*"):
            (name,) = self._metavar_formatter(action, default_metavar)(1)
            return f"{name} ..."
        return super()._format_args(action, default_metavar)


def unknown_option_message(unknown: list[str], known: Iterable[str]) -> str:
    """What to say about arguments that a command does not know, with the nearest option it does."""
    first = next((text for text in unknown if text.startswith("-")), unknown[0])
    return f"unknown argument '{first}'.{did_you_mean(first.split('=')[0], known)}"
