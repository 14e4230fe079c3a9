from collections import Counter
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_matching


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
