"""Backbones beside references in the same run: `pytest benchmarks/test_backbones.py -s`; `--quick` for the smallest."""

from pathlib import Path

import pytest

from benchmarks.backbones.__main__ import tables
from benchmarks.backbones.measure import BAR, CLOSE, measure
from models.catalogue import backbone

pytest.importorskip("torch")


@pytest.mark.parametrize("alias", ["vits16", "vitt16", "cxTiny"])
def test_graphs_beside_pytorch(alias: str, tmp_path: Path, quick: bool, capsys: pytest.CaptureFixture[str]) -> None:
    measured = measure(backbone(alias), tmp_path, 0 if quick else 30, print)
    with capsys.disabled():
        print(f"\n{tables([measured], 0)}")
    for figure in measured.figures:
        assert figure.mean_cosine is None or figure.mean_cosine >= CLOSE, figure.way
    if alias == "vits16" and not quick:
        assert measured.best_ratio >= BAR
