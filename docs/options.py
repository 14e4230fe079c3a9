"""Writes the tables of `docs/options.md` from the program itself: `python -m docs.options` (`--check` only compares).

Commands and options are read from the real parsers, plugins from the real registry. Only the meanings of environment
variables stand here, because nothing else in the program says them in one place.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.cli import COMMANDS, build_parser
from engine.cli_sections import COMMON
from engine.hooks import FilterRecord, MatcherRecord
from engine.plugin_options import describe_options
from engine.plugin_registry import BUILT_IN, load_registry
from models.catalogue import BACKBONES, Group
from plugins import BUILTINS

PAGE = Path(__file__).resolve().parent / "options.md"


@dataclass(frozen=True)
class Variable:
    """An environment variable: its name, who reads it, what holds when it is unset, and what it means."""

    name: str
    read_by: str
    default: str
    meaning: str


_DEFAULT = " (default: "
_VIS_DEFAULT = "default of `engine vis`"
VARIABLES = (
    Variable("IMG_ROOT", "engine", "`DATASET_HOST`, else `./data`", "folder of the photographs"),
    Variable("WEIGHTS_ROOT", "engine", "`WEIGHTS_HOST`, else `./weights`", "folder of the checkpoints, at any depth"),
    Variable("EXPORT_ROOT", "engine", "`EXPORT_HOST`, else `./exports`", "folder of everything written"),
    Variable("GRAPH_ROOT", "engine", "`EXPORT_ROOT/dinov3_graphs`", "folder of exported graphs"),
    Variable("EMBED_ROOT", "engine", "`EXPORT_ROOT/dinov3_embeds`", "folder of stored feature maps"),
    Variable("MATCH_ROOT", "engine", "`EXPORT_ROOT/pair_match`", "folder of JSON and HDF5 results"),
    Variable("VIS_ROOT", "engine", "`EXPORT_ROOT/pair_viz`", "folder of pictures"),
    Variable("REPO_DIR", "engine", "`CODE_HOST`, else none", "a clone of DINOv3's own source, for `--source hub`"),
    Variable("VIS_RANSAC", "engine vis", "the stored verification", f"{_VIS_DEFAULT} `--ransac`"),
    Variable("VIS_RANSAC_IMPL", "engine vis", "the stored one", f"{_VIS_DEFAULT} `--ransac-method`"),
    Variable("VIS_REPROJ_TH", "engine vis", "the stored one", f"{_VIS_DEFAULT} `--reproj-th`"),
    Variable("VIS_CONFIDENCE", "engine vis", "the stored one", f"{_VIS_DEFAULT} `--confidence`"),
    Variable("VIS_ITERS", "engine vis", "the stored one", f"{_VIS_DEFAULT} `--iters`"),
    Variable("VIS_MAX_LINES", "engine vis", "1000", f"{_VIS_DEFAULT} `--max-lines`"),
    Variable("VIS_LINEWIDTH", "engine vis", "3", f"{_VIS_DEFAULT} `--linewidth`"),
    Variable("VIS_ALPHA", "engine vis", "180", f"{_VIS_DEFAULT} `--alpha`"),
    Variable("VIS_DRAW_POINTS", "engine vis", "1", "1: mark the ends of the lines; 0: do not"),
    Variable("VIS_POINT_RADIUS", "engine vis", "-1", f"{_VIS_DEFAULT} `--point-radius`"),
    Variable("IMAGE_NAME", "docker compose", "`dinov3-match`", "name of the image, with or without a tag"),
    Variable("RUNTIME", "docker compose", "`gpu`", "ONNX Runtime of the image: `gpu` (CUDA 12) or `gpu-cu13`"),
    Variable("TZ", "docker compose", "`Etc/UTC`", "time zone of the container"),
    Variable("DATASET_HOST", "docker compose, engine", "none", "the computer's folder of photographs"),
    Variable("WEIGHTS_HOST", "docker compose, engine", "none", "the computer's folder of checkpoints"),
    Variable("EXPORT_HOST", "docker compose, engine", "none", "the computer's folder for graphs and results"),
    Variable("PROJECT_HOST", "docker compose", "none", "a clone of this project to run instead of the image's code"),
    Variable("CODE_HOST", "docker compose, engine", "none", "a clone of DINOv3's own source"),
    Variable("USER_ID", "docker compose", "1000", "user that owns the results (Linux): what `id -u` prints"),
    Variable("GROUP_ID", "docker compose", "1000", "group that owns the results (Linux): what `id -g` prints"),
    Variable(
        "DINOV3_BLOCK_NET",
        "docker compose, engine",
        "1 in the container, else unset",
        "1: never use the network; 0: downloads are allowed; unset: `--source hf` may download, a clone's code may not",
    ),
    Variable(
        "HF_HUB_OFFLINE", "set by docker compose, engine", "`DINOV3_BLOCK_NET`", "1: no downloads by `--source hf`"
    ),
    Variable("HF_HOME", "set by docker compose", "`/exports/huggingface`", "where Hugging Face's library keeps models"),
    Variable("HF_TOKEN", "docker compose, engine", "none", "token for gated models; `--hf-token` wins"),
    Variable("PYTHONPATH", "set by docker compose", "", "lets the code of `PROJECT_HOST` stand before the image's"),
    Variable("DINOV3_MATCH_CONTAINER", "engine", "none", "1 in the project's container, so that messages fit it"),
)


def render() -> str:
    """The whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Writes the page, or says whether it is current."""
    parser = argparse.ArgumentParser("python -m docs.options", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is out of date")
    options = parser.parse_args(arguments)
    text = render()
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        print(f"{PAGE} is current")
        return 0
    if options.check:
        print(f"{PAGE} is out of date: run 'python -m docs.options'", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE}")
    return 0


def _lines() -> Iterator[str]:
    yield "<!-- Written by `python -m docs.options`; change the program, or docs/options.py, and run it again. -->"
    yield ""
    yield "# Options"
    yield ""
    yield "`engine COMMAND --help` prints the same on your machine. An option given on the command line wins over an"
    yield "environment variable, a variable wins over the same name in `.env`, and that over the default. Exit codes: 0"
    yield "done, 1 the work failed (a file, the runtime, the disk), 2 the command was wrong, 130 stopped by Ctrl-C."
    yield ""
    links = ", ".join(f"[{command.name}](#engine-{command.name})" for command in COMMANDS)
    yield f"Commands: {links}. Also: [options of every command](#every-command),"
    yield "[plugins' options](#options-of-plugins), [environment](#environment-variables),"
    yield "[names of backbones](#backbones)."
    yield ""
    yield from _command_lines()
    yield from _plugin_lines()
    yield from _variable_lines()
    yield from _backbone_lines()


def _command_lines() -> Iterator[str]:
    _, parsers = build_parser()
    for command in COMMANDS:
        yield f"## engine {command.name}"
        yield ""
        yield f"{command.help[0].upper()}{command.help[1:]}."
        yield ""
        yield from ("```sh", command.example, "```", "")
        rows = list(_option_rows(parsers[command.name].own_actions()))
        if rows:
            yield from _table(("option", "value", "default", "meaning"), rows)
        else:
            yield "It takes no options of its own."
        yield ""
    yield from ("## Every command", "")
    yield "Each command also takes these, after its name or in front of it. [Logs](logs.md) shows what they give."
    yield ""
    common = [action for action in parsers[COMMANDS[0].name]._actions if action.dest in COMMON]
    yield from _table(("option", "value", "default", "meaning"), _option_rows(common))
    yield ""


def _option_rows(actions: Iterable[argparse.Action]) -> Iterator[tuple[str, ...]]:
    for action in actions:
        if action.help == argparse.SUPPRESS:
            continue
        text, default = _meaning_and_default((action.help or "").replace("%%", "%"))
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
        yield names, _value_of(action), f"`{default}`" if default else "", text


def _meaning_and_default(help: str) -> tuple[str, str]:
    """A help text without its `(default: ...)`, and what stands there, up to the bracket that closes it."""
    before, _, rest = help.partition(_DEFAULT)
    depth = 1
    for end, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return before + rest[end + 1 :], rest[:end]
    return help, ""


def _value_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    value = " or ".join(f"`{choice}`" for choice in action.choices or (metavar,))
    return f"{value}, several" if action.nargs in ("+", "*") else value


def _plugin_lines() -> Iterator[str]:
    registry = load_registry(BUILTINS)
    yield from ("## Options of plugins", "")
    yield "Matchers take theirs as `-M name=value`, filters as `-F name=value`; `engine plugins` lists those of"
    yield "installed packages too. `--ransac-method`, `--reproj-th`, `--confidence` and `--iters` are short for `-F`."
    yield ""
    for title, records in (("matcher", registry.matchers.values()), ("filter", registry.filters.values())):
        for record in records:
            if registry.origin(record) == BUILT_IN:
                yield from _record_lines(title, record)
    yield from ("### Runtimes", "")
    rows = [
        (f"`{record.name}`", record.help, ", ".join(f"`{suffix}`" for suffix in record.suffixes))
        for record in registry.runtimes.values()
        if registry.origin(record) == BUILT_IN
    ]
    yield from _table(("runtime", "what it is", "reads"), rows)
    yield ""


def _record_lines(title: str, record: MatcherRecord | FilterRecord) -> Iterator[str]:
    yield from (f"### {title} {record.name}", "", f"{record.help[0].upper()}{record.help[1:]}.", "")
    rows = [
        (f"`{row.name}`", row.type, f"`{row.default}`", row.range, row.help) for row in describe_options(record.options)
    ]
    yield from _table(("option", "type", "default", "range", "meaning"), rows) if rows else ("It takes no options.",)
    yield ""
    if isinstance(record, FilterRecord) and record.ransac_methods:
        yield f"Robust methods: {', '.join(f'`{method}`' for method in record.ransac_methods)}."
        yield ""


def _variable_lines() -> Iterator[str]:
    yield from ("## Environment variables", "")
    yield "They may also stand in a file `.env` in the current folder, as `NAME=value`. A relative `EMBED_ROOT`,"
    yield "`MATCH_ROOT` or `VIS_ROOT` lies below `EXPORT_ROOT`, other relative folders below the current one."
    yield ""
    rows = [(f"`{entry.name}`", entry.read_by, entry.default, entry.meaning) for entry in VARIABLES]
    yield from _table(("variable", "read by", "default", "meaning"), rows)
    yield ""


def _backbone_lines() -> Iterator[str]:
    yield from ("## Backbones", "")
    rows = [
        (
            f"`{entry.alias}`",
            f"`{entry.group.value}`",
            "inside the package" if entry.group is Group.BUNDLED else f"`{entry.checkpoint_name}`",
            str(entry.dim),
            str(entry.stride),
        )
        for entry in BACKBONES.values()
    ]
    yield from _table(("alias", "group", "checkpoint", "length of a token", "pixels per token"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    sys.exit(main())
