"""The import rules: who may import whom, read from the sources and tried in a fresh interpreter."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "exporters", "models", "plugins")

CATALOGUE_SIDE = {
    "models",
    "models.bundled",
    "models.catalogue",
    "models.contract",
    "models.cost",
    "models.errors",
    "models.find",
    "models.processor",
}
"""The part of `models` that matching needs: standard library only."""

ENGINE_LIBRARIES = {"argparse_dataclass", "cv2", "h5py", "numpy", "onnxruntime", "pluggy", "tqdm"}
"""What an installation without the extra `export` has."""


@dataclass(frozen=True)
class Import:
    """`target` is the module imported; `at_load` is False inside a function, where it happens only when called."""

    source: str
    target: str
    line: int
    at_load: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imports_of(source: str) -> Iterator[Import]:
    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(source, alias.name, child.lineno, at_load)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{source}:{child.lineno}: relative import"
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    yield Import(source, inner if inner in MODULES else str(child.module), child.lineno, at_load)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, at_load and not inside)

    return walk(ast.parse(MODULES[source].read_text(encoding="utf-8")), True)


IMPORTS = [
    found for name in MODULES for found in imports_of(name) if found.target.split(".")[0] not in sys.stdlib_module_names
]


def is_root(module: str) -> bool:
    """Whether the module belongs to the composition root, where all parts meet."""
    return module == "engine.__main__" or module.startswith("engine.cli")


def may_fetch(source: str) -> bool:
    """Whether the module is one of the two ways into the program, which fetch plugins: the commands, the library."""
    return is_root(source) or source == "engine.matcher"


def allowed(found: Import) -> bool:
    source, target = found.source, found.target
    top, library = source.split(".")[0], target.split(".")[0]
    if source in CATALOGUE_SIDE:
        return target in CATALOGUE_SIDE
    if source.startswith("models.training"):
        return library in {"models", "torch", "numpy", "cv2"}
    if top == "models":
        return library in {"models", "torch", "numpy"}
    if top == "exporters" and library in {"transformers", "huggingface_hub"}:
        return source.startswith("exporters.sources.hf") and not found.at_load
    if top == "exporters":
        return library in {"exporters", "models", "torch", "onnx", "onnxscript", "onnxruntime", "numpy"} or target in {
            "engine.runtime",
            "engine.errors",
        }
    if top == "plugins":
        # The built-in runtime is the engine's own, offered as a plugin; its factory may fetch it.
        return (
            target == "engine"
            or library in {"plugins", "numpy", "cv2"}
            or (not found.at_load and (target == "engine.runtime" or library not in PACKAGES))
        )
    if library == "plugins":
        return may_fetch(source) and not found.at_load
    if library == "exporters":
        return is_root(source) and not found.at_load
    if library == "models":
        return target in CATALOGUE_SIDE
    return library == "engine" or library in ENGINE_LIBRARIES


def test_there_is_something_to_check() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(PACKAGES)
    assert any(found.target == "numpy" for found in IMPORTS)
    assert any(not found.at_load for found in IMPORTS)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_imports_only_what_it_may(package: str) -> None:
    broken = [found for found in IMPORTS if found.source.split(".")[0] == package and not allowed(found)]
    assert not broken, "\n".join(f"{found.source}:{found.line} imports {found.target}" for found in broken)


@pytest.mark.parametrize(
    "found",
    [
        Import("models.catalogue", "numpy", 1, True),
        Import("models.errors", "torch", 1, False),
        Import("engine.pipeline", "torch", 1, False),
        Import("engine.pipeline", "exporters.export", 1, False),
        Import("engine.graphs", "models.vit", 1, False),
        Import("engine.matcher", "plugins", 1, True),
        Import("engine.matcher", "exporters.export", 1, False),
        Import("engine.library", "plugins", 1, False),
        Import("engine.cli", "exporters.export", 1, True),
        Import("plugins.mutual_knn", "engine.features", 1, True),
        Import("plugins.mutual_knn", "models.catalogue", 1, False),
        Import("exporters.export", "engine.pipeline", 1, True),
    ],
)
def test_the_rules_refuse_what_they_are_for(found: Import) -> None:
    assert not allowed(found)


def test_only_the_composition_root_imports_the_command_line() -> None:
    broken = [found for found in IMPORTS if is_root(found.target) and not is_root(found.source)]
    assert not broken


def test_imports_at_load_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in IMPORTS:
        # A package's `__init__` gathers what its modules offer; that they lie below it is no dependency.
        if found.at_load and found.target in MODULES and found.target != found.source.split(".")[0]:
            graph[found.source].add(found.target)
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "cycle: " + " -> ".join((*trail, name))
        if name not in finished:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_matching_loads_no_torch() -> None:
    matching = [name for name in MODULES if name.startswith(("engine", "plugins")) and not name.endswith("__main__")]
    names = ", ".join([*matching, *sorted(CATALOGUE_SIDE)])
    loaded = run(f"import sys\nimport {names}\nprint(*{{name.split('.')[0] for name in sys.modules}})").split()
    assert {"engine", "plugins", "cv2", "numpy"} <= set(loaded)
    assert not {"torch", "onnx", "onnxscript", "transformers", "exporters"} & set(loaded)


def test_the_engine_comes_up_and_every_plugin_is_made_where_torch_is_not_installed() -> None:
    code = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'onnx', 'onnxscript', 'transformers', 'PIL'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Refuse())
from engine.cli import main
assert main(['plugins']) == 0
import plugins
for module in plugins.BUILTINS:
    for hook in ('engine_matchers', 'engine_filters', 'engine_runtimes'):
        for record in getattr(module, hook, list)():
            assert callable(record.factory())
            print('made', record.name)
"""
    made = [line for line in run(code).splitlines() if line.startswith("made ")]
    assert len(made) >= 8


def test_importing_the_public_face_is_quick_to_load() -> None:
    loaded = run("import sys, engine, models.catalogue\nprint(*{name.split('.')[0] for name in sys.modules})").split()
    assert not {"cv2", "h5py", "onnxruntime", "torch"} & set(loaded)


def edges_of_commands() -> set[tuple[str, str]]:
    """Arrows of the diagram of commands in docs/architecture.md, as modules of the program."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    start = page.index("## What each command calls")
    diagram = page[page.index("graph LR\n", start) : page.index("```\n", page.index("graph LR\n", start))]
    labels = dict(re.findall(r"(\w+)\[([\w.]+)\]", diagram))

    def modules(text: str) -> list[str]:
        names = [re.sub(r"\[.*", "", name.strip()) for name in text.split("&")]
        full = [labels.get(name, name) for name in names]
        return [name if name.split(".")[0] in PACKAGES else f"engine.{name}" for name in full]

    found = set()
    for line in diagram.splitlines()[1:]:
        for before, after in pairwise(line.split("-->")):
            found |= set(product(modules(before), modules(after)))
    return found


def test_arrows_in_the_diagram_of_commands_are_imports() -> None:
    packages = {"engine.drawing", "engine.report"}
    imported = {(entry.source, entry.target) for entry in IMPORTS}
    imported |= {(source, target.rpartition(".")[0]) for source, target in imported if target.startswith("engine.")}
    arrows = edges_of_commands()
    assert {target for _, target in arrows} - packages <= set(MODULES)
    assert sorted(arrows - imported) == []


def test_every_command_stands_in_the_diagram() -> None:
    from engine.cli import COMMANDS

    called = {target for source, target in edges_of_commands() if source == "engine.cli"}
    lacking = {
        command.name
        for command in COMMANDS
        if not called & {f"engine.cli_{command.name}", f"engine.cli_{command.name}_tools"}
    }
    assert lacking == set()
