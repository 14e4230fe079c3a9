"""`engine completion`: a script that completes commands, options and their values in bash, zsh or fish.

The script is written from the same parsers as the help, so it knows every option; names of photographs are asked for
while typing, with `engine completion images`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.cli_options import option
from engine.completion.scripts import WRITERS
from engine.completion.words import CommandWords, words_of
from engine.context import Context
from engine.dataset import scan

IMAGES = "images"
_KEYS_AT_MOST = 2000


@dataclass(frozen=True)
class CompletionOptions:
    """Options of `engine completion`."""

    shell: str = option(
        "bash",
        "shell",
        type=str,
        nargs="?",
        metavar="SHELL",
        choices=(*WRITERS, IMAGES),
        help="shell to write the script for: bash, zsh or fish; or 'images': altitudes and keys below IMG_ROOT",
    )


def run_completion(options: CompletionOptions, context: Context) -> int:
    """Prints the script, or the names of photographs that the script asks for."""
    if options.shell == IMAGES:
        print("\n".join(image_words(context)))
        return 0
    print(WRITERS[options.shell](command_words(context)), end="")
    return 0


def command_words(context: Context) -> Mapping[str, CommandWords]:
    """What may follow each command, with the plugins that are installed here."""
    from engine.cli import COMMANDS, build_parser

    _, parsers = build_parser()
    return {
        command.name: words_of(command.help, parsers[command.name]._actions, context.registry) for command in COMMANDS
    }


def image_words(context: Context) -> list[str]:
    """Altitudes, then keys of photographs.

    Raises:
        DataSetError: there is no data set.
    """
    data_set = scan(context.roots.images)
    altitudes = {key.altitude_value: key.altitude for key in data_set.keys}
    return [
        *(altitudes[value] for value in sorted(altitudes)),
        *(entry.key for entry in data_set.entries[:_KEYS_AT_MOST]),
    ]
