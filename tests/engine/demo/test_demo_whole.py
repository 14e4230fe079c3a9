"""The demonstration as `make demo` runs it: rendered, matched, drawn and reported, on a machine without torch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from docs import pictures
from engine.demo.photograph import FRAMES
from engine.demo.run import ERROR_LIMIT_PCT

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from engine.cli import main; sys.exit(main(sys.argv[1:]))"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Its folder, and what it said."""
    folder = tmp_path_factory.mktemp("demonstration")
    out = folder / "demo"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "demo", "--out", str(out)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return out, ran.stdout


def test_the_demonstration_ends_with_right_pictures_and_a_report(demonstration: tuple[Path, str]) -> None:
    out, said = demonstration
    errors = [float(found) for found in re.findall(r"^400\.\d+ - 200\.\d+ \|.*?([\d.]+) %", said, re.MULTILINE)]
    assert len(errors) == FRAMES
    assert max(errors) <= ERROR_LIMIT_PCT
    assert f"Verdict: {FRAMES} of {FRAMES} pairs of one place are called the same place, and 0 of" in said
    files = sorted((out / "pair_viz").rglob("*.png"))
    assert len(files) == FRAMES
    for picture in files:
        drawn = cv2.imread(str(picture))
        assert drawn is not None
        assert drawn.std() > 10, "an empty picture shows nothing"
    page = (out / "report" / "index.html").read_text("utf-8")
    assert "<html" in page
    assert f"report: {out / 'report' / 'index.html'}" in said
    assert len(list((out / "report" / "data" / "pair").iterdir())) == FRAMES**2


def test_the_committed_pictures_show_the_result_that_the_program_finds_now(
    demonstration: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = demonstration
    shown = json.loads((ROOT / "docs" / "images" / pictures.FIGURES).read_text("utf-8"))
    truth = json.loads((out / "images" / "truth.json").read_text("utf-8"))
    pairs = [entry for entry in truth["pairs"] if (entry["a"], entry["b"]) == (shown["a"], shown["b"])]
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "truth.json").write_text(json.dumps({"pairs": pairs}), "utf-8")
    (tmp_path / "pair_match").symlink_to(out / "pair_match")
    _, _, found = pictures.clearest_pair(tmp_path)
    # Rounding differs from processor to processor; the order of size does not.
    assert found["matches"] == pytest.approx(shown["matches"], rel=0.2)
    assert found["inliers"] == pytest.approx(shown["inliers"], rel=0.3)
