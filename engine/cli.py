"""The command line: the one place where all parts meet."""

import argparse
import dataclasses
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.cli_completion import CompletionOptions, run_completion
from engine.cli_convert import ConvertOptions, run_convert
from engine.cli_demo import DemoOptions
from engine.cli_doctor import DoctorOptions, run_doctor
from engine.cli_embed import EmbedOptions, run_embed
from engine.cli_evaluate_options import EvaluateOptions
from engine.cli_export import ExportOptions, run_export
from engine.cli_list import ListOptions, run_list
from engine.cli_match import run_match
from engine.cli_match_options import MatchOptions
from engine.cli_parser import CommandParser, HelpFormatter, add_log_options, unknown_option_message
from engine.cli_plugins import PluginsOptions, run_plugins
from engine.cli_report_options import ReportOptions
from engine.cli_verify import VerifyOptions, run_verify
from engine.cli_version import VersionAction
from engine.cli_vis import VisOptions
from engine.context import Context, installed_versions
from engine.errors import Dinov3MatchError, UsageError
from engine.events import emit
from engine.install_check import check_installation
from engine.logs import LogOptions, logging_to, without_secrets
from engine.plugin_registry import load_registry
from engine.process import Terminated, make_output_robust, sigterm_as_interrupt
from engine.progress import warn
from engine.settings import load_roots, read_environment
from engine.suggest import did_you_mean

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        options: the dataclass of its options.
        run: runs it; returns the exit code. Takes the options and, if `needs_context`, the context.
        example: ends its help.
        needs_context: whether it needs a sound installation, readable settings and plugins to begin with.
        resumes: whether the same command, started again after Ctrl-C, goes on where it was stopped.
    """

    name: str
    help: str
    options: type[Any]
    run: Callable[..., int]
    example: str
    resumes: bool = False
    needs_context: bool = True


# What only one command needs is loaded when it runs: the start of every other would take that time.


def _run_evaluate(options: EvaluateOptions, context: Context) -> int:
    from engine.cli_evaluate import run_evaluate

    return run_evaluate(options, context)


def _run_report(options: ReportOptions, context: Context) -> int:
    from engine.cli_report import run_report

    return run_report(options, context)


def _run_vis(options: VisOptions, context: Context) -> int:
    from engine.cli_vis import run_vis

    return run_vis(options, context.roots, context.registry, sys.stdin, sys.stdout)


def _run_demo(options: DemoOptions, context: Context) -> int:
    from engine.cli_demo_tools import run_demo_command

    return run_demo_command(options, context)


COMMANDS = (
    Command(
        "demo",
        "make a small aerial data set, match it with the bundled backbone and draw the result",
        DemoOptions,
        _run_demo,
        "engine demo --out demo",
    ),
    Command(
        "export",
        "turn DINOv3 checkpoints (.pth) into ONNX graphs and check them against the source model",
        ExportOptions,
        run_export,
        "engine export --weights vitl16",
    ),
    Command(
        "verify",
        "compare graphs with their source models, on photographs",
        VerifyOptions,
        run_verify,
        "engine verify --weights vitl16 --precision bf16 --images photographs",
    ),
    Command(
        "match",
        "match photographs patch by patch and verify the geometry",
        MatchOptions,
        run_match,
        "engine match --matcher mutual_knn -a 400.0001 -b 200.0001",
        resumes=True,
    ),
    Command(
        "embed",
        "encode photographs and store their feature maps",
        EmbedOptions,
        run_embed,
        "engine embed --weights vits16 -a 400",
        resumes=True,
    ),
    Command(
        "convert",
        "write stored matches for hloc or COLMAP, as NumPy arrays or as tables",
        ConvertOptions,
        run_convert,
        "engine convert --to colmap --out reconstruction",
    ),
    Command(
        "evaluate",
        "measure matching on pairs of known geometry, beside SIFT, ORB and the earlier procedure",
        EvaluateOptions,
        _run_evaluate,
        "engine evaluate --truth truth.json --json accuracy.json",
        resumes=True,
    ),
    Command(
        "report",
        "write a folder of pages over a run that opens in a browser, without a server",
        ReportOptions,
        _run_report,
        "engine report --out report",
    ),
    Command(
        "vis",
        "draw stored pairs: matches, overlays, similarity, principal components",
        VisOptions,
        _run_vis,
        "engine vis --pair 400.0001 200.0001 --mode lines overlay pca",
    ),
    Command(
        "list",
        "show every backbone: checkpoint, graphs, verified figures, size and cost",
        ListOptions,
        run_list,
        "engine list --check",
    ),
    Command(
        "doctor",
        "say whether this machine can do the job, and what to do if not",
        DoctorOptions,
        run_doctor,
        "engine doctor --full",
        needs_context=False,
    ),
    Command(
        "plugins",
        "list matchers, filters and runtimes with their options and origin",
        PluginsOptions,
        run_plugins,
        "engine plugins",
    ),
    Command(
        "completion",
        "write a script with which the shell completes commands, options and names",
        CompletionOptions,
        run_completion,
        "engine completion bash",
    ),
)


def make_context() -> Context:
    """Reads the environment and loads the plugins."""
    from plugins import BUILTINS

    values = read_environment()
    return Context(values, load_roots(values), load_registry(BUILTINS))


MAIN_EPILOG = """first steps:
  engine demo              a data set made up on the spot, matched and drawn
  engine doctor            can this machine do the job, and what to do if not
  engine match --help      options of a command, with defaults and an example"""


class MainParser(argparse.ArgumentParser):
    """The parser in front of the sub-commands."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nSee '{self.prog} --help'.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own words differ from version to version, and suggest nothing.
        if action.choices is not None and value not in action.choices:
            names = [str(name) for name in action.choices]
            hint = did_you_mean(str(value), names)
            raise UsageError(f"there is no command '{value}'.{hint} Commands: {', '.join(names)}")


def build_parser(prog: str = "engine") -> tuple[MainParser, dict[str, CommandParser]]:
    """The main parser and those of the sub-commands by name."""
    parser = MainParser(
        prog=prog,
        description="Find the same place in aerial photographs with DINOv3 patch embeddings.",
        usage="%(prog)s COMMAND [options]",
        epilog=MAIN_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser, prog=prog
    )
    parsers = {
        command.name: commands.add_parser(
            command.name,
            options_class=command.options,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"example:\n  {command.example}",
        )
        for command in COMMANDS
    }
    general = parser.add_argument_group("options")
    general.add_argument("-h", "--help", action="help", help="show this page")
    general.add_argument("--version", action=VersionAction, help="versions of this program and what results depend on")
    add_log_options(general)
    return parser, parsers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0 done, 1 failed work, 2 wrong usage.

    Stopped by Ctrl-C it is 130, by SIGTERM 143, as shells have it.
    """
    make_output_robust()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with sigterm_as_interrupt():
            return _main(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        print(f"\n{_how_to_go_on(given)}", file=sys.stderr)
        return _exit_code(stop)
    except BrokenPipeError:
        # The reader of our output is gone (for example `engine plugins | head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Dinov3MatchError as error:
        print(f"engine: {error}", file=sys.stderr)
        return error.exit_code


def _main(arguments: list[str]) -> int:
    parser, parsers = build_parser()
    if not arguments:
        parser.print_help()
        return 2
    namespace, unknown = parser.parse_known_args(arguments)
    command = next((entry for entry in COMMANDS if entry.name == namespace.command), None)
    if command is None:
        if unknown:
            known = [name for action in parser._actions for name in action.option_strings]
            raise UsageError(f"{unknown_option_message(unknown, known)} See 'engine --help'.")
        raise UsageError("no command given: see 'engine --help'")
    if unknown:
        known = parsers[command.name].option_strings()
        raise UsageError(f"{unknown_option_message(unknown, known)} See 'engine {command.name} --help'.")
    given = vars(namespace)
    options = command.options(**{entry.name: given[entry.name] for entry in dataclasses.fields(command.options)})
    logs = {entry.name: given[entry.name] for entry in dataclasses.fields(LogOptions) if entry.name in given}
    with logging_to(LogOptions(**logs)):
        return _logged(command, options, arguments)


def _logged(command: Command, options: Any, arguments: list[str]) -> int:
    """Runs a command between the events of its start and its end."""
    started = time.monotonic()
    code = 1
    emit("run_started", command=command.name, arguments=without_secrets(arguments), versions=installed_versions())
    try:
        code = _run(command, options)
    except (Dinov3MatchError, KeyboardInterrupt) as error:
        code = _exit_code(error)
        LOGGER.debug("stopped by", exc_info=error)
        if isinstance(error, Dinov3MatchError):
            emit("error", message=str(error), kind=type(error).__name__)
        else:
            emit("run_stopped", signal="SIGTERM" if isinstance(error, Terminated) else "SIGINT")
        raise
    except Exception as error:
        LOGGER.debug("a fault of the program", exc_info=error)
        emit("error", message=f"{type(error).__name__}: {error}", kind=type(error).__name__)
        raise
    finally:
        emit("run_finished", command=command.name, exit_code=code, seconds=round(time.monotonic() - started, 3))
    return code


def _run(command: Command, options: Any) -> int:
    if not command.needs_context:
        return command.run(options)
    check_installation()
    context = make_context()
    LOGGER.debug("folders: %s", context.roots)
    if command.run is not run_plugins:
        for problem in context.registry.problems:
            warn(f"plugin not loaded: {problem}")
    return command.run(options, context)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, Dinov3MatchError):
        return error.exit_code
    return 143 if isinstance(error, Terminated) else 130


def _how_to_go_on(arguments: list[str]) -> str:
    """What to say after Ctrl-C: the command line that goes on, or that starts again."""
    again = shlex.join(["engine", *without_secrets(arguments)])
    if any(command.resumes and command.name in arguments for command in COMMANDS):
        return f"stopped; what was finished is kept. To go on from there, the same again:\n  {again}"
    return f"stopped; files already written are complete. To start again:\n  {again}"
