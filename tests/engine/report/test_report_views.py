"""Patch similarity of pairs matched in other views than upright: the page compares what the run compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import texture, write_photograph
from report_browser import Page, open_browser

from engine.convert.runs import stored_runs
from engine.report.source import StoreSource

PATCH_PX = 16


@pytest.mark.parametrize(
    ("quarter_turns", "enlarged", "scales"),
    [(1, 1, "1"), (3, 2, "1,0.5"), (1, 0.5, "1,2")],
    ids=["b-turned", "a-turned-b-reduced", "a-reduced-b-turned"],
)
def test_a_turned_pair_shows_the_similarity_of_its_matches(
    quarter_turns: int, enlarged: float, scales: str, command: Callable[..., Any], data_set: Path, tmp_path: Path
) -> None:
    pixels = texture(320, 384)
    turned = cv2.resize(np.rot90(pixels, quarter_turns), None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_AREA)
    a = write_photograph(data_set / "C3_600" / "C3_600_0001.png", pixels)
    b = write_photograph(data_set / "D4_100" / "D4_100_0001.png", turned)
    size = ("-i", 320 if enlarged == 1 else 640)
    assert command("match", "-e", *size, "--rotations", 4, "--scales", scales, "-a", a, "-b", b).code == 0
    assert command("report", "-o", tmp_path / "report", "--pictures", 0).code == 0
    match_root = tmp_path / "exports" / "pair_match"
    [pair] = StoreSource(stored_runs(match_root)[0].folder, match_root).pairs()
    result = pair.result
    assert (result.view_a.word, result.view_b.word) != ("upright", "upright")
    kept = np.flatnonzero(result.verification.inliers)
    assert len(kept) > 20
    browser = open_browser()
    try:
        page = Page(browser, tmp_path / "report")
        page.open("pair/0")
        page.wait(lambda: page.js("return !!document.querySelector('#tab-heat')"), "the pair's page")
        page.click("#tab-heat")
        page.wait(lambda: page.js("return !!document.querySelector('#heat-a').dataset.token"), "the heat map")
        first = page.js("return document.querySelector('.view').firstChild.inspect()")
        assert first["a"] == pytest.approx(result.points_a_px[kept[0]].tolist(), abs=0.1), "it begins at an inlier"
        for at in kept[:: max(1, len(kept) // 8)]:
            shown = page.js(
                "return document.querySelector('.view').firstChild.inspect(...arguments)", *result.points_a_px[at]
            )
            assert shown["high"] == pytest.approx(float(result.similarity[at]), abs=0.01)
            assert shown["best"] == pytest.approx(result.points_b_px[at].tolist(), abs=0.1), "the peak is at the match"
            away = np.hypot(*(np.array(shown["expected"]) - result.points_b_px[at]))
            assert away < 2 * PATCH_PX, "the geometry puts the patch there too"
        assert page.errors() == []
    finally:
        browser.quit()
