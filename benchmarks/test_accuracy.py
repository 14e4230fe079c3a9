"""Accuracy on real pairs and on synthetic ones of exact truth, beside SIFT, ORB and the earlier procedure.

The tables are printed. What is held here is that the measuring is sound; how good the figures are is for the reader.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.evaluate.factors import FACTORS

REFERENCES = {"earlier procedure", "SIFT", "ORB"}


@pytest.fixture
def further(request: pytest.FixtureRequest) -> list[str]:
    return shlex.split(str(request.config.getoption("--evaluate-options")))


def evaluated(name: str, arguments: list[str], results: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    figures = results / f"{name}.json"
    with capsys.disabled():
        print()
        code = main(["evaluate", *arguments, "--out", str(results / name), "--json", str(figures)])
    assert code == 0
    content: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return content


def test_real_pairs(
    aerial: Path, weights: str, results: Path, further: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = aerial / "truth.json"
    content = evaluated(
        "real", ["--truth", str(truth), "--images", str(aerial), "-w", weights, *further], results, capsys
    )
    named = [(pair["a"], pair["b"]) for pair in json.loads(truth.read_text(encoding="utf-8"))["pairs"]]
    assert [(pair["a"], pair["b"]) for pair in content["pairs"]] == named
    assert all(set(pair["references"]) == REFERENCES for pair in content["pairs"])


def test_synthetic_pairs(
    aerial: Path, weights: str, results: Path, further: list[str], quick: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--synthetic", str(aerial), "-w", weights, *(["--quick"] if quick else []), *further]
    content = evaluated("synthetic", arguments, results, capsys)
    assert set(content["levels"]) == {factor.name for factor in FACTORS}
    # SIFT, which knows nothing of how the pairs were made, finds the truth of plainly turned pairs to a tenth of a
    # pixel: the truth is exact.
    for level in content["levels"]["rotation"]:
        assert level["methods"]["SIFT"]["median_error_pct"] < 0.1
    for factor in FACTORS:
        if len(factor.levels) > 1:
            assert (results / "synthetic" / "curves" / f"{factor.name}.png").is_file()
