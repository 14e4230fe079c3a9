"""What the pages say of a run with search, refinement and verdicts, in both languages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_browser import Page, open_browser, report_of
from report_samples import ListSource, judged_run, photograph, run_info

from engine.photographs import Photographs
from engine.report import write_report
from engine.report.source import StoreSource
from engine.results import Refinement, RefinementStep, Verdict
from engine.store.matches_h5 import MatchStore, match_folder
from engine.views import View


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_browser()
    yield opened
    opened.quit()


def facts_of(page: Page) -> dict[str, str]:
    script = "return [...document.querySelectorAll('.facts > div')].map(e=>[...e.children].map(c=>c.innerText))"
    return dict(page.js(script))


def test_search_refinement_and_verdict_are_told(browser: Any, tmp_path: Path) -> None:
    source = judged_run(tmp_path, [None] * 9)
    pairs = list(source.pairs())
    steps = (
        RefinementStep("dense_448", 512, 300, 0.8, 0.4, True),
        RefinementStep("tiles 896", 90, 12, None, None, False),
    )
    refinement = Refinement(steps, 0.2, np.zeros((300, 2)), np.zeros((300, 2)), np.full(300, 0.8))
    verdict = Verdict(0.2, ("collinear", "too_few"), 0.634, None, 0.25, -3.0)
    result = replace(pairs[0].result, view_b=View(90.0), view_a=View(0.0, 0.5), views_tried=7)
    pairs[0] = replace(pairs[0], result=replace(result, refinement=refinement, verdict=verdict))
    source = ListSource(pairs, tmp_path / "images")
    source.description = replace(
        source.description, settings={"rotations": 12, "scales": (1.0, 0.5, 2.0), "refine": "dense"}
    )
    page = report_of(browser, source, tmp_path)
    made = facts_of(page)
    assert made["rotations tried, at most"] == "12"
    assert made["scales tried"] == "1, 0.5, 2"
    assert made["refinement"] == "dense"
    page.open("pair/0")
    page.wait(lambda: page.js("return !!document.querySelector('.facts')"), "the facts")
    facts = facts_of(page)
    assert facts["views matched, a and b"] == "at 0.5 of its size, turned 90°"
    assert facts["views tried"] == "7"
    assert facts["uncertainty of a match in b"] == "± 0.80 px"
    assert facts["matches finer than a patch"] == "300"
    assert facts["refinement steps"].replace("\u00a0", " ").splitlines() == [
        "dense 448: 300 of 512 inliers, ± 0.80 px",
        "tiles 896: 12 of 90 inliers, not taken",
    ]
    assert facts["degenerate geometry"] == "inliers on a line, too few inliers"
    assert facts["overlap, share of a and of b"] == "63 %, –"
    assert facts["of the overlap, covered by inliers"] == "25 %"
    page.click("#language")
    page.wait(lambda: "비정상 기하" in facts_of(page), "the facts in Korean")
    korean = facts_of(page)
    assert korean["매칭한 뷰(a, b)"] == "0.5배 크기, 90° 회전"
    assert korean["비정상 기하"] == "인라이어가 한 직선 위, 인라이어 부족"
    page.click("#language")
    page.open("pair/1")
    page.wait(lambda: page.js("return !!document.querySelector('.facts')"), "the facts")
    assert "views tried" not in facts_of(page), "nothing was searched"
    assert page.errors() == []


def test_other_places_are_not_praised_for_their_inliers(browser: Any, tmp_path: Path) -> None:
    """Pair 0 has most inliers, and is of another place; 200.0001 has no pair of one place."""
    source = judged_run(tmp_path, [0.1, 0.02, 0.9, 0.1, 0.8, 0.31, 0.0, 0.2, 0.3])
    page = report_of(browser, source, tmp_path)
    cards = page.js("return [...document.querySelectorAll('.card')].map(e=>e.getAttribute('href'))")
    assert cards == ["#/pair/4", "#/pair/2"], "pairs of other places are no best pairs"
    page.open("photographs")
    notes = dict(
        page.js(
            "return [...document.querySelectorAll('.card')].map(e=>[e.querySelector('.card-name').textContent,"
            "e.querySelector('.card-note').textContent])"
        )
    )
    assert notes["400.0001"] == "8 inliers", "of its pair of one place, not of that of most inliers"
    assert notes["400.0003"] == notes["200.0001"] == "no pair of the same place"
    page.open("pair/0")
    assert page.js("return document.querySelectorAll('.head .value.good').length") == 0
    page.open("pair/4")
    assert page.js("return document.querySelectorAll('.head .value.good').length") == 2
    page.open("map")
    assert page.js("return document.getElementById('map-mode').value") == "verdict"
    assert page.errors() == []


def test_warnings_about_damaged_files_are_korean_on_korean_pages(browser: Any, tmp_path: Path) -> None:
    source = judged_run(tmp_path, [None] * 9)
    results = [pair.result for pair in source.pairs()]
    run = run_info(tmp_path)
    folder = match_folder(tmp_path / "match", run.settings)
    for some in (results[:4], results[4:]):
        with MatchStore(folder, run) as store:
            for result in some:
                store.append(result)
    stored = StoreSource(folder, tmp_path / "match")
    damaged = sorted(folder.glob("matches-*.h5"))[-1]
    for shard in (damaged, *(tmp_path / "embeds").rglob("features-*.h5")):
        shard.write_bytes(shard.read_bytes()[:-100])
    summary = write_report(stored, tmp_path / "report", Photographs(tmp_path / "images"), tmp_path / "embeds")
    assert summary.pairs == 4
    page = Page(browser, summary.index.parent)
    page.open("overview")
    assert f"{damaged}: damaged: it is cut off" in page.text(".warnings")
    page.click("#language")
    said = page.text(".warnings")
    assert f"{damaged}: 손상되었거나 읽을 수 없어 이 파일의 쌍이 빠져 있습니다" in said
    assert "features-00000.h5: 손상되었거나 읽을 수 없습니다" in said
    assert "cut off" not in said
    page.click("#language")
    assert page.errors() == []


def test_warnings_about_photographs_are_korean_on_korean_pages(browser: Any, tmp_path: Path) -> None:
    source = judged_run(tmp_path, [None] * 9)
    photograph(tmp_path / "images/F_400/F_400_0002.jpg", (300, 200), 9)
    (tmp_path / "images/G_200/G_200_0003.jpg").write_bytes(b"no picture")
    (tmp_path / "images/F_400/F_400_0001.jpg").unlink()
    page = report_of(browser, source, tmp_path)
    said = page.text(".warnings")
    assert "has 300 x 200 pixels, but had 480 x 360" in said
    page.click("#language")
    said = page.text(".warnings")
    assert "F_400_0001.jpg: 사진을 찾을 수 없습니다" in said
    assert "F_400_0002.jpg: 사진이 300 × 200 px이지만 매칭할 때는 480 × 360 px였습니다" in said
    assert "G_200_0003.jpg: 사진을 읽을 수 없습니다" in said
    assert "pixels, but had" not in said
    assert page.js("return getComputedStyle(document.querySelector('.warnings li')).wordBreak") == "keep-all"
    page.click("#language")
    assert page.errors() == []
