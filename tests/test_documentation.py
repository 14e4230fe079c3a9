"""The documents against the program: nothing left out, no command that fails to parse, no dead link, all current."""

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import texture, write_photograph, write_tiny_graph

import engine
from docs import options as options_page
from engine.cli import COMMANDS, build_parser
from engine.cli import main as engine_main
from engine.hooks import FilterRecord, Hooks, MatcherRecord, RuntimeRecord
from engine.naming import DEFAULT_REGEX

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models" / "bundled" / "MODEL_CARD.md"])
PAGE_IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]
SHELLS = ("sh", "bash", "console", "powershell", "")

FENCE = re.compile(
    r"^(?:[ ]*<!-- (?P<mark>[^\n]*?) -->\n\s*)?(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `mark` is the HTML comment on the line before it, such as `runnable`."""

    language: str
    body: str
    mark: str


def blocks(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        indent = match["indent"]
        body = "\n".join(line.removeprefix(indent) for line in match["body"].splitlines())
        found.append(Block(match["language"], body + "\n", match["mark"] or ""))
    return found


def without_blocks(text: str) -> str:
    return FENCE.sub("", text)


def commands_in(block: Block) -> Iterator[list[str]]:
    """Every command of a shell block that reaches this program, as `engine` would get it."""
    if block.language not in SHELLS:
        return
    for line in block.body.replace("\\\n", " ").splitlines():
        if "…" in line:
            continue
        for part in re.split(r"&&|\||;|>", line.strip().removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            command = engine_arguments(words)
            if command is not None:
                yield command


def engine_arguments(words: list[str]) -> list[str] | None:
    """The arguments after `engine`; in the container `run` and `vis` are short for two of its commands."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:2] == ["docker", "compose"] and "exec" in words and "matching" in words:
        words = words[words.index("matching") + 1 :]
        if words[:1] == ["run"]:
            words = ["engine", "match", *words[1:]]
        if words[:1] == ["run2"]:
            words = ["engine", "match", "--source", "hf", *words[1:]]
        if words[:1] == ["vis"]:
            words = ["engine", *words]
    if words[1:3] == ["-m", "engine"]:
        words = words[2:]
    return words[1:] if words[:1] == ["engine"] else None


ALL_COMMANDS = [
    pytest.param(command, id=f"{path.relative_to(ROOT).as_posix()}: {' '.join(command)}")
    for path in PAGES
    for block in blocks(path.read_text("utf-8"))
    for command in commands_in(block)
]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"[`*]|!?\[([^\]]*)\]\([^)]*\)", lambda found: found[1] or "", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def headings(text: str) -> list[tuple[int, str]]:
    return [(len(level), title) for level, title in re.findall(r"^(#+) (.+)$", without_blocks(text), re.MULTILINE)]


def test_the_tables_of_options_are_those_of_the_program() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8")
    assert page == options_page.render(), "run 'python -m docs.options'"


def test_every_command_and_option_stands_on_the_page_of_options() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8")
    sections = dict(re.findall(r"^## engine (\w+)\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE))
    _, parsers = build_parser()
    assert set(sections) == set(parsers) == {command.name for command in COMMANDS}
    for name, parser in parsers.items():
        wanted = {word for action in parser.own_actions() for word in action.option_strings}
        assert wanted == {word for word in re.findall(r"`(-[\w-]+)`", sections[name]) if word in wanted}, name


def test_defaults_on_the_page_of_options_are_whole() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8")
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| `-")]
    assert len(rows) > 100
    assert [row for row in rows if row[2].count("(") != row[2].count(")") or "default: " in row[3]] == []
    by_name = {row[0]: row for row in rows}
    every = by_name["`--json-every`"]
    assert every[2] == "`all, in runs of more than 10000 pairs about 10000`"
    assert every[3] == "write every N-th pair's JSON file; the HDF5 store always has all"
    assert by_name["`--mode`"][1].endswith("`pca`, several")
    assert by_name["`--mode`"][2] == "`lines`"
    assert by_name["`--regex`"][2] == f"`{DEFAULT_REGEX}`"


def environment_names() -> set[str]:
    """Every variable that the program, the compose files or `.env.example` name."""
    name = re.compile(r"(?:VIS|DINOV3|HF)_[A-Z0-9_]+|[A-Z0-9]+_(?:ROOT|HOST|DIR)")
    found = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    for path in ROOT.glob("docker-compose*.yml"):
        text = path.read_text("utf-8")
        found |= set(re.findall(r"\$\{([A-Z0-9_]+)", text))
        found |= set(yaml.safe_load(text.replace("!reset", ""))["services"]["matching"].get("environment") or {})
    for package in ("engine", "exporters", "models", "plugins"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and name.fullmatch(node.value):
                    found.add(node.value)
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                    found.add(str(ast.literal_eval(node.args[0])))
    return found


def test_every_environment_variable_is_documented_and_none_is_made_up() -> None:
    assert environment_names() == {entry.name for entry in options_page.VARIABLES}


def texts_of_the_program() -> Iterator[str]:
    """Every text in the sources, with … in place of what is filled in."""
    for package in ("engine", "exporters", "models", "plugins"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                    yield "".join(str(part) for part in parts)


def test_messages_quoted_for_troubleshooting_are_the_program_s_own() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    own = page[page.index("## Provider") :]
    quoted = [
        text for row in re.findall(r"^\| ([^|]+) \|", own, re.MULTILINE) for text in re.findall("`([^`-][^`]*)`", row)
    ]
    fragments = {part.strip(" :") for text in quoted for part in re.split(r"…|\d+", text) if len(part.strip(" :")) > 7}
    assert len(fragments) > 20
    known = "\n".join(texts_of_the_program())
    assert [part for part in sorted(fragments) if part not in known] == []


def test_every_hook_record_and_public_name_is_in_the_guide_for_plugins() -> None:
    guide = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    words = set(re.findall(r"\w+", guide))
    hooks = {name for name in vars(Hooks) if name.startswith("engine_")}
    records = {entry.name for record in (MatcherRecord, FilterRecord, RuntimeRecord) for entry in fields(record)}
    assert hooks | records | (set(engine.__all__) - {"__version__"}) <= words


def test_every_installed_extra_is_documented() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    assert {name for name in extras if f"`{name}`" in page} == set(extras)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_in_the_documents_parses(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser, _ = build_parser()
    code: object = None
    unknown: list[str] = []
    try:
        _, unknown = parser.parse_known_args(command)
    except SystemExit as stop:  # `--help` and `--version` end this way too, with the code 0
        code = stop.code
    assert (code or 0, unknown) == (0, []), capsys.readouterr().err


@pytest.mark.parametrize("path", PAGES, ids=PAGE_IDS)
def test_commands_named_in_sentences_exist(path: Path) -> None:
    named = set(re.findall(r"`engine ([a-z]+)", without_blocks(path.read_text("utf-8"))))
    assert named <= {command.name for command in COMMANDS}


@pytest.mark.parametrize("path", PAGES, ids=PAGE_IDS)
def test_relative_links_pictures_and_anchors_exist(path: Path) -> None:
    for target in LINK.findall(without_blocks(path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{target} in {path.name}"
        if anchor:
            assert anchor in {slug(title) for _, title in headings(file.read_text("utf-8"))}, f"{target} in {path.name}"


@pytest.mark.parametrize("path", PAGES, ids=PAGE_IDS)
def test_source_files_named_in_sentences_exist(path: Path) -> None:
    text = without_blocks(path.read_text("utf-8"))
    named = re.findall(r"`((?:engine|exporters|models|plugins|tests|docs)/[\w/]+(?:\.py|/))`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_a_readme_begins_with_the_result_and_the_two_commands(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert re.match(r"!\[[^\]]{20,}\]\(docs/images/result\.png\)\n\n```sh\n", text)
    first = [line.split("#")[0].strip() for line in blocks(text)[0].body.splitlines()]
    assert first == ["make demo", "make test"]
    assert len(text.splitlines()) < 110


def test_the_two_readmes_say_the_same() -> None:
    english, korean = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.ko.md"))

    def shape(text: str) -> list[object]:
        code = [[line.split("#")[0].strip() for line in block.body.splitlines()] for block in blocks(text)]
        links = [target for target in LINK.findall(text) if not re.fullmatch(r"README(\.ko)?\.md", target)]
        inline = re.findall(r"`([^`\n]*[A-Za-z.]/?[^`\n]*)`", re.sub(r"<[^>]*>", "", without_blocks(text)))
        return [[level for level, _ in headings(text)], code, links, sorted(set(inline) - {"engine match"})]

    assert shape(english) == shape(korean)
    assert len(re.findall("[가-힣]", korean)) > 600


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photographs of two flights and one graph, as a user has after `engine export`."""
    ground = texture(320, 480)
    for flight, left in (("250912150549_400", 0), ("250912161658_200", 32)):
        for frame in (1, 2):
            pixels = ground[:, left + 16 * frame :][:, :384]
            write_photograph(tmp_path / "data" / flight / f"{flight}_{frame:04d}.jpg", pixels)
    write_tiny_graph(tmp_path / "exports" / "dinov3_graphs" / "vits16-fp32.onnx")
    for variable in options_page.VARIABLES:
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUNNABLE = [path for path in PAGES if any(block.mark == "runnable" for block in blocks(path.read_text("utf-8")))]


@pytest.mark.parametrize("path", RUNNABLE, ids=[path.name for path in RUNNABLE])
def test_the_runnable_blocks_of_a_page_run_in_their_order(path: Path, workplace: Path) -> None:
    for block in blocks(path.read_text("utf-8")):
        if block.mark != "runnable":
            continue
        if block.language == "python":
            done = python(["-c", block.body], workplace, ROOT)
            assert done.returncode == 0, f"{block.body}\n{done.stderr}"
            continue
        found = list(commands_in(block))
        assert found, f"nothing to run in\n{block.body}"
        for command in found:
            assert engine_main(command) == 0, command


def test_the_notebook_runs_from_its_first_cell_to_its_last(workplace: Path) -> None:
    notebook = ROOT / "docs" / "example_notebook.py"
    assert notebook.read_text("utf-8").count("\n# %% ") >= 8
    assert f"({notebook.name})" in (ROOT / "docs" / "library.md").read_text("utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMG_ROOT", "data")
        done = python([str(notebook)], workplace, ROOT)
    assert done.returncode == 0, done.stderr
    assert "a against itself, turned: 90.0 degrees" in done.stdout
    assert re.findall(r"_000(\d)\.jpg: (?:same|other) place", done.stdout) == ["1", "2"]
    assert (workplace / "overlay.jpg").is_file()


def test_file_formats_are_shown_with_readers() -> None:
    page = (ROOT / "docs" / "file-formats.md").read_text("utf-8")
    shown = [block for block in blocks(page) if block.mark == "runnable" and block.language == "python"]
    assert len(shown) >= 4
    for before, after in pairwise(shown):
        assert before.body != after.body


@pytest.fixture
def guide_package(tmp_path: Path) -> Path:
    """The package of the guide for plugins, its files copied from the page and installed by pip."""
    guide = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    files = {
        block.mark.removeprefix("file: "): block.body for block in blocks(guide) if block.mark.startswith("file: ")
    }
    assert len(files) >= 2
    source = tmp_path / "source"
    for name, body in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(body, "utf-8")
    (folder,) = {(source / name.split("/")[0]) for name in files}
    target = tmp_path / "installed"
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(target)]
    done = python(["-m", "pip", "install", *flags, str(folder)], tmp_path, ROOT)
    assert done.returncode == 0, done.stderr
    return target


def test_the_guides_package_installs_shows_up_and_matches(guide_package: Path, workplace: Path) -> None:
    guide = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    shown = [block for block in blocks(guide) if block.mark == "runnable with the package"]
    commands = [command for block in shown for command in commands_in(block)]
    assert {command[0] for command in commands} >= {"plugins", "match", "report"}
    printed = ""
    for command in commands:
        done = python(["-m", "engine", *command], workplace, guide_package, ROOT)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    expected = next(block.body for block in blocks(guide) if block.mark == "printed by the package")
    for line in expected.splitlines():
        assert line in printed
    assert list((workplace / "exports").rglob("*.json"))
    written = (workplace / "exports" / "report" / "data" / "run.js").read_text("ascii")
    run = json.loads(written.removeprefix('Report.put("run",').removesuffix(");\n"))
    assert run["run"]["mode"] == "threshold_margin0.05_unique"
    assert run["run"]["settings"]["matcher"] == "threshold"
    assert len(run["images"]) == 2


def python(arguments: list[str], folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """Runs this Python in a folder, with others in front of its search path."""
    import os

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
