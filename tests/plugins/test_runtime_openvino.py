"""The runtime `openvino`, where the package is installed; what holds without it, everywhere."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError, WorkError
from engine.graph_opening import open_with
from engine.plugin_registry import load_registry
from engine.runtime import open_graph
from exporters.export import export_backbone
from models.catalogue import backbone
from models.random_checkpoint import shortened, write_random_checkpoint
from plugins import BUILTINS, runtime_openvino

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")

RECORD = load_registry(BUILTINS, entry_points=False).runtime("openvino")
SIZES = ((1, 96, 160), (2, 64, 64))


@pytest.fixture(scope="module", params=["vits16", "vits16+", "cxTiny"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shortened backbone of each family: MLP, gated MLP, ConvNeXt."""
    folder, entry = tmp_path_factory.mktemp(request.param), shortened(backbone(request.param), 1)
    checkpoint = write_random_checkpoint(entry, folder)
    return export_backbone(entry, checkpoint, folder, unofficial=True).graph_path


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


@needs_openvino
def test_in_fp32_it_gives_what_onnx_runtime_gives(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of fp32, which OpenVINO's own rotary embedding misses by hundreds of times."""
    import openvino

    class WithoutBf16(openvino.Core):  # type: ignore[misc, name-defined]
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", WithoutBf16)
    found, wanted = open_with(RECORD, graph), open_graph(graph, "cpu")
    assert (found.provider, found.precision) == ("OpenVINO CPU fp32", "fp32")
    for size in SIZES:
        for a, b in zip(found(images(*size)), wanted(images(*size)), strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= 1e-3
            assert cosines(a, b).min() >= 0.9999


@needs_openvino
def test_it_takes_bf16_where_the_processor_has_it_and_keeps_its_bound(graph: Path) -> None:
    import openvino

    has = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found, wanted = open_with(RECORD, graph), open_graph(graph, "cpu")
    assert found.provider == f"OpenVINO CPU {'bf16' if has else 'fp32'}"
    for size in SIZES:
        for a, b in zip(found(images(*size)), wanted(images(*size)), strict=True):
            assert cosines(a, b).min() >= 0.995


@needs_openvino
def test_results_stay_when_the_next_images_run(graph: Path) -> None:
    runtime = open_with(RECORD, graph)
    tokens, _ = runtime(images(1, 64, 64))
    kept = tokens.copy()
    runtime(255 - images(1, 64, 64))
    np.testing.assert_array_equal(tokens, kept)


@needs_openvino
def test_an_int8_graph_keeps_the_bound_of_int8(tmp_path: Path) -> None:
    entry = shortened(replace(backbone("vits16")), 1)
    checkpoint = write_random_checkpoint(entry, tmp_path)
    graph = export_backbone(entry, checkpoint, tmp_path, "int8", unofficial=True).graph_path
    found, wanted = open_with(RECORD, graph), open_graph(graph, "cpu")
    assert found.precision == "int8"
    assert cosines(found(images(1, 64, 64))[0], wanted(images(1, 64, 64))[0]).mean() >= 0.98


def test_without_the_package_the_error_says_what_to_install(tiny_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(WorkError, match=r"needs the package openvino .*\[openvino\].*--runtime onnxruntime"):
        open_with(RECORD, tiny_graph)


def test_other_providers_are_refused(tiny_graph: Path) -> None:
    with pytest.raises(UsageError, match="computes on the CPU"):
        runtime_openvino.open_openvino(tiny_graph, "cuda")
