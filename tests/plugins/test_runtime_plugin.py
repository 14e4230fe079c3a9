"""Runtimes as plugins: the built-in ones, and one of another package with a file format of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DIM, STRIDE

from engine import RuntimeRecord, hookimpl
from engine.errors import GraphError, OutOfMemory, ProviderError, UsageError, WorkError
from engine.graph_metadata import read_metadata
from engine.graph_opening import graph_suffixes, open_with, results_digest, runtime_for
from engine.graphs import graph_path
from engine.plugin_registry import Registry, load_registry
from engine.runtime import OnnxRuntime, open_graph
from plugins import BUILTINS


class MeanColours:
    """The runtime of a package: of each patch the mean of its pixels, in all dimensions. `fails` is raised when run."""

    provider = "mean colours"

    def __init__(self, fails: Exception | None = None, dim: int = DIM) -> None:
        self._fails, self._dim = fails, dim

    def __call__(self, images: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
        if self._fails is not None:
            raise self._fails
        batch, height, width, _ = images.shape
        tiles = images.reshape(batch, height // STRIDE, STRIDE, width // STRIDE, STRIDE, 3).astype(np.float32)
        means = tiles.mean(axis=(2, 4, 5)).reshape(batch, -1, 1)
        tokens = np.repeat(means, self._dim, axis=2)
        return tokens, tokens.mean(axis=1)


def registry_with(opener: Callable[..., object], suffix: str = ".mean") -> Registry:
    def metadata(path: Path) -> Mapping[str, str]:
        return json.loads(path.read_text("utf-8"))

    def engine_runtimes() -> list[RuntimeRecord]:
        return [RuntimeRecord("means", "mean colours", (suffix,), lambda: opener, metadata)]

    return load_registry((*BUILTINS, SimpleNamespace(engine_runtimes=hookimpl(engine_runtimes))), entry_points=False)


@pytest.fixture
def mean_graph(tiny_graph: Path, tmp_path: Path) -> Path:
    """A graph file of the package's own format: only what it says of itself."""
    path = tmp_path / "vits16-fp32.mean"
    path.write_text(json.dumps(read_metadata(tiny_graph)), "utf-8")
    return path


def test_the_default_runtime_opens_graphs_with_the_engines_function(tiny_graph: Path) -> None:
    registry = load_registry(BUILTINS, entry_points=False)
    record = registry.runtime("onnxruntime")
    assert record.suffixes == (".onnx",)
    assert record.factory() is open_graph
    assert runtime_for(tiny_graph, registry) is record
    assert isinstance(open_with(record, tiny_graph, "cpu"), OnnxRuntime)


def test_a_runtime_of_another_package_is_found_by_its_suffix_and_runs(mean_graph: Path) -> None:
    asked: list[object] = []

    def opener(path: Path, provider: str) -> MeanColours:
        asked.append((path, provider))
        return MeanColours()

    registry = registry_with(opener)
    record = runtime_for(mean_graph, registry)
    assert record.name == "means"
    assert graph_path(mean_graph.parent, "vits16", "fp32", graph_suffixes(registry)) == mean_graph
    graph = open_with(record, mean_graph, "cpu")
    assert asked == [(mean_graph, "cpu")]
    assert (graph.provider, graph.precision, graph.graph.alias, graph.graph.stride) == (
        "mean colours",
        "fp32",
        "vits16",
        STRIDE,
    )
    image = np.zeros((1, 2 * STRIDE, STRIDE, 3), np.uint8)
    image[0, STRIDE:] = 60
    tokens, whole = graph(image)
    np.testing.assert_array_equal(tokens[0, :, 0], [0, 60])
    np.testing.assert_array_equal(whole, np.full((1, DIM), 30, np.float32))
    with pytest.raises(ValueError, match="multiples of"):
        graph(image[:, 1:])


def test_a_named_runtime_must_exist_and_read_the_file(tiny_graph: Path, mean_graph: Path) -> None:
    registry = registry_with(lambda *_: MeanColours())
    assert graph_suffixes(registry, "means") == (".mean",)
    assert graph_suffixes(registry)[0] == ".onnx"
    with pytest.raises(UsageError, match=r"--runtime means reads .mean and not"):
        runtime_for(tiny_graph, registry, "means")
    with pytest.raises(UsageError, match=r"no runtime is called 'mean'. Did you mean 'means'"):
        runtime_for(mean_graph, registry, "mean")
    with pytest.raises(GraphError, match=r"no runtime reads .*\.tflite: graph files end in \.onnx"):
        runtime_for(Path("a.tflite"), registry)
    two = registry_with(lambda *_: MeanColours(), ".torchscript")
    with pytest.raises(UsageError, match=r"several runtimes read .*: choose with --runtime one of torchscript, means"):
        runtime_for(Path("a.torchscript"), two)


@pytest.mark.parametrize(
    ("runtime", "kind", "told"),
    [
        (
            MeanColours(RuntimeError("bad thing")),
            ProviderError,
            "mean colours failed on 1 image.* 32 x 16 px.*bad thing",
        ),
        (MeanColours(MemoryError()), OutOfMemory, "mean colours failed on 1 image"),
        (MeanColours(WorkError("say it")), WorkError, "^say it$"),
        (MeanColours(dim=DIM + 1), ProviderError, rf"gave tokens as float32 \[1, 2, {DIM + 1}\] instead of float32"),
    ],
)
def test_a_runtime_at_fault_is_an_error(
    runtime: MeanColours, kind: type[Exception], told: str, mean_graph: Path
) -> None:
    graph = open_with(runtime_for(mean_graph, registry := registry_with(lambda *_: runtime)), mean_graph)
    assert registry.runtimes["means"]
    with pytest.raises(kind, match=told):
        graph(np.zeros((1, STRIDE, 2 * STRIDE, 3), np.uint8))


def test_what_cannot_be_opened_is_an_error(mean_graph: Path, tmp_path: Path) -> None:
    def refuse(*_: object) -> MeanColours:
        raise RuntimeError("no such chip\nmore")

    record = registry_with(refuse).runtime("means")
    with pytest.raises(ProviderError, match=r"the runtime means could not open .*: no such chip$"):
        open_with(record, mean_graph)
    with pytest.raises(GraphError, match="does not exist"):
        open_with(record, tmp_path / "none.mean")
    mean_graph.write_text("{", "utf-8")
    with pytest.raises(GraphError, match="cannot be read by the runtime means"):
        open_with(record, mean_graph)
    mean_graph.write_text("{}", "utf-8")
    with pytest.raises(GraphError, match="not a graph exported by this program"):
        open_with(record, mean_graph)


def test_results_of_runtimes_do_not_mix() -> None:
    assert results_digest("ab" * 32, "onnxruntime", "CPUExecutionProvider") == "ab" * 32
    others = {results_digest("ab" * 32, "openvino", f"OpenVINO CPU {name}") for name in ("bf16", "fp32")}
    assert len(others) == 2
    assert all(len(digest) == 64 and digest != "ab" * 32 for digest in others)


def test_listing_the_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from plugins import BUILTINS; from engine.plugin_registry import load_registry; "
        "load_registry(BUILTINS, entry_points=False); "
        "print([name for name in ('torch', 'openvino', 'onnxruntime', 'cv2', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
