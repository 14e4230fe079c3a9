"""Photographs and pairs a second beside references in the same run: `pytest benchmarks/test_throughput.py -s`.

With `--quick` a tenth of the work, to see that it runs; the bars are held only without it, on a quiet machine.
"""

from pathlib import Path

import pytest

from benchmarks.throughput.measure import MEASUREMENTS, Bench
from models.catalogue import backbone


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of vits16 with random weights: speed does not depend on them."""
    from exporters.export import export_backbone
    from models.random_checkpoint import write_random_checkpoint

    folder = tmp_path_factory.mktemp("graph")
    checkpoint = write_random_checkpoint(backbone("vits16"), folder)
    return export_backbone(backbone("vits16"), checkpoint, folder, "fp32").graph_path


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_throughput(name: str, graph: Path, tmp_path: Path, quick: bool) -> None:
    lines = MEASUREMENTS[name](Bench(tmp_path, graph, [], quick))
    print()
    for line in lines:
        print(line.row())
    assert all(line.ratio > 0 for line in lines)
    if not quick:
        assert [line.what for line in lines if not line.met] == []
