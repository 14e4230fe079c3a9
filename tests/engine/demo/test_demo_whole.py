"""The demonstration as `make demo` runs it: rendered, matched, drawn and reported, on a machine without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from engine.demo.photograph import FRAMES
from engine.demo.run import ERROR_LIMIT_PCT

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from engine.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
def test_the_demonstration_ends_with_right_pictures_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "demo", "--out", str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    errors = [float(found) for found in re.findall(r"^400\.\d+ - 200\.\d+ \|.*?([\d.]+) %", ran.stdout, re.MULTILINE)]
    assert len(errors) == FRAMES
    assert max(errors) <= ERROR_LIMIT_PCT
    assert f"Verdict: {FRAMES} of {FRAMES} pairs of one place are called the same place, and 0 of" in ran.stdout
    pictures = sorted((out / "pair_viz").rglob("*.png"))
    assert len(pictures) == FRAMES
    for picture in pictures:
        drawn = cv2.imread(str(picture))
        assert drawn is not None
        assert drawn.std() > 10, "an empty picture shows nothing"
    page = (out / "report" / "index.html").read_text("utf-8")
    assert "<html" in page
    assert f"report: {out / 'report' / 'index.html'}" in ran.stdout
    assert len(list((out / "report" / "data" / "pair").iterdir())) == FRAMES**2
