from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_tiny_graph

from benchmarks import gpu, gpu_matching
from engine.errors import GraphError
from engine.runtime import OnnxRuntime
from engine.runtime import open_graph as open_really
from models import contract
from models.catalogue import backbone
from models.random_checkpoint import shortened


def test_without_a_gpu_it_says_so_and_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert gpu.main([]) == 0
    assert "no GPU" in capsys.readouterr().out


def test_a_gpu_without_the_provider_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "card", lambda: "A card")
    monkeypatch.setattr(gpu.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert gpu.main([]) == 1
    assert "install the extra 'gpu'" in capsys.readouterr().err


def test_nodes_left_on_the_cpu_stand_in_the_table() -> None:
    row = gpu.Row("x.onnx", Counter({"Shape": 2}), 100, 1e-3, 0.9999, 900.0, 8.0)
    assert "| x.onnx | 900 | 8.0 | 0.001 | 0.999900 | 100 | 2 Shape |" in gpu.table([row], "A card")


def test_a_graph_of_16_bits_is_compared_with_that_of_fp32_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = write_tiny_graph(tmp_path / "vits16-fp32.onnx")
    half = write_tiny_graph(tmp_path / "vits16-bf16.onnx", **{contract.KEY_PRECISION: "bf16"})
    opened = []

    def open_graph(path: Path, provider: str) -> OnnxRuntime:
        opened.append((path, provider))
        runtime = open_really(full if provider == "cuda" else path, "cpu")
        runtime.graph = replace(runtime.graph, path=path, precision=path.stem.partition("-")[2])
        return runtime

    monkeypatch.setattr(gpu, "open_graph", open_graph)
    monkeypatch.setattr(gpu, "CUDA", "CPUExecutionProvider")
    monkeypatch.setattr(gpu, "REPEATS", 1)
    row = gpu.measure(half)
    assert opened == [(half, "cuda"), (full, "cpu")]
    assert (row.graph, row.largest_difference, row.cpu_images_s) == ("vits16-bf16.onnx", 0.0, None)
    assert f"| vits16-bf16.onnx | {row.cuda_images_s:.0f} |  | 0 | 1.000000 |" in gpu.table([row], "A card")
    assert gpu.measure(full).cpu_images_s is not None
    full.rename(tmp_path / "elsewhere.onnx")
    full = tmp_path / "elsewhere.onnx"
    with pytest.raises(GraphError, match=r"vits16-fp32\.onnx does not exist"):
        gpu.measure(half)


def test_profile_names_where_nodes_ran(tiny_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CUDA", "CPUExecutionProvider")
    on_provider, elsewhere = gpu.placed_nodes(tiny_graph, gpu.images(1))
    assert on_provider >= 4
    assert not elsewhere


def test_matching_counts_every_pair_and_compares_with_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_matching, "BLOCK", 4)
    row = gpu_matching.measure_matching("CPUExecutionProvider", 10, 30, 16)
    assert row.pairs == 45
    assert row.matches > 100
    assert (row.agreement, row.largest_difference) == (1.0, 0.0)
    assert "45 pairs" in str(row)


def test_a_backbone_stands_beside_torch_and_the_bare_product(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu_torch = pytest.importorskip("benchmarks.gpu_torch")
    monkeypatch.setattr(gpu_torch, "REPEATS", 1)
    monkeypatch.setattr("torch.compile", lambda model: model)
    entry = shortened(backbone("vits16"), 1)
    row = gpu_torch.measure_backbone(entry, gpu.images(2)[:, :64, :64], tmp_path, "cpu", "fp32", product_side=64)
    assert row.smallest_cosine > 0.99999
    assert row.within_bounds
    assert min(row.images_s, row.compiled_images_s, row.product_tflops, row.gflops_an_image) > 0
    assert "of torch.compile's" in str(row)
    far = replace(row, precision="bf16", smallest_cosine=0.99)
    assert not far.within_bounds
    assert "BELOW" in str(far)


def test_a_torch_without_cuda_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "has no CUDA" in gpu.beside_torch(backbone("vitl16"))
