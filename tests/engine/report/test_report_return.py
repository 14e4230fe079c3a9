"""Coming back: pages are found as they were left, the keyboard goes on where it was, narrow windows keep what sorts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_browser import Page, open_browser, report_of
from report_samples import ListSource, judged_run, reference

from engine.report.data_file import data_script
from engine.report.folder import ReportFolder
from engine.report.listing import ListedImage, Listing
from engine.report.pictures import PictureOutcome
from engine.report.write import pairs_document, run_document, write_pages

SIDE = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_browser()
    yield opened
    opened.quit()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Page]:
    """All 1,600 pairs of 40 photographs with 40 others, only listed; every seventh is of one place."""
    count = SIDE * SIDE
    base = reference(Path("x.jpg"), "400.0001", "a")
    keys = [f"{altitude}.{frame:04d}" for altitude in (400, 200) for frame in range(SIDE)]
    rows = np.arange(count)
    listing = Listing(
        images=[ListedImage(replace(base, key=key, path=Path(f"/F/{key}.jpg")), key[:3]) for key in keys],
        a=(rows // SIDE).astype(np.int32),
        b=(SIDE + rows % SIDE).astype(np.int32),
        matches=np.full(count, 100, np.int32),
        inliers=(rows % 90).astype(np.int32),
        has_model=np.ones(count, np.bool_),
        error_px=np.full(count, 2.5, np.float32),
        cosine=(rows / count).astype(np.float32),
        same_place=np.where(rows % 7 == 0, 0.9, 0.1).astype(np.float32),
        forward_ms=[],
        total_ms=[],
    )
    folder = ReportFolder(tmp_path)
    write_pages(folder)
    folder.write("data/pairs.js", data_script("pairs", pairs_document(listing, [])))
    run = run_document(ListSource([], tmp_path), listing, PictureOutcome(), 0, [])
    folder.write("data/run.js", data_script("run", run))
    made = Page(browser, tmp_path)
    made.js("localStorage.clear()")
    made.open("pairs")
    yield made
    assert made.errors() == []


def go(page: Page, where: str, seen: str) -> None:
    page.js("location.hash = '#/' + arguments[0]", where)
    page.wait(lambda: page.js("return !!document.querySelector(arguments[0])", seen), where)


FOCUS = "return document.activeElement.id"
TOP = "return document.getElementById('rows').scrollTop"
ACTIVE = "return document.querySelector('.filler .row.active')?.getAttribute('aria-rowindex')"


def test_the_table_is_found_as_it_was_left(page: Page) -> None:
    page.js("document.getElementById('rows').scrollTop = 6000")
    page.wait(lambda: page.js("return !!document.querySelector('[aria-rowindex=\"104\"]')"), "row 102 of the order")
    page.click('[aria-rowindex="104"]')
    page.wait(lambda: "→" in page.js("return document.title"), "the pair's name in the title")
    name = page.text("h1")
    assert page.js("return document.title") == f"{name} · dinov3-match"
    assert page.js(FOCUS) == "page"
    go(page, "pairs", "#rows")
    page.wait(lambda: page.js(TOP) == 6000, "the place")
    assert page.js(FOCUS) == "rows"
    page.wait(lambda: page.js(ACTIVE) == "104", "the row of that pair")
    page.keys("#rows", "ArrowDown")
    page.wait(lambda: page.js(ACTIVE) == "105", "the next row")
    page.js("document.getElementById('rows').scrollTop = 600")
    page.wait(lambda: page.js("return !!document.querySelector('[aria-rowindex=\"14\"]')"), "rows farther up")
    go(page, "overview", ".overview")
    go(page, "pairs", "#rows")
    page.wait(lambda: page.js(TOP) == 600, "the place, rather than that of a pair seen before")
    page.click("#language")
    page.wait(lambda: page.js(TOP) == 600, "the place in the other language")
    page.click("#language")
    page.click("[data-sort=c]")
    page.wait(lambda: page.js(TOP) == 0, "another order begins at its top")


def test_the_next_pair_is_found_in_the_table(page: Page) -> None:
    page.click('[aria-rowindex="2"]')
    for _ in range(30):
        before = page.js("return location.hash")
        page.js("document.getElementById('next').click()")
        page.wait(lambda before=before: page.js("return location.hash") != before, "the next pair")
    go(page, "pairs", "#rows")
    page.wait(lambda: page.js(ACTIVE) == "32", "the row of the pair looked at last, in view")


def test_the_map_is_found_as_it_was_left(page: Page) -> None:
    view = "const v = document.querySelector('.map-page').inspect(); return [v.scale, v.x, v.y]"
    names = "return document.querySelector('.map-page').inspect().names"
    go(page, "map", "#map")
    page.wait(lambda: page.js(view)[0] > 1, "the first drawing")
    page.click("#map-in")
    page.click("#map-in")
    page.keys("#map", *["ArrowDown"] * 30, "ArrowRight")
    page.wait(lambda: "400.0030 → 200.0001" in page.text("#map-status"), "the cursor")
    page.wait(lambda: "0030" in page.js(names), "the cell's row is named")
    page.drawn()
    before = page.js(view)
    page.keys("#map", "Enter")
    page.wait(lambda: "→" in page.text("h1"), "the pair")
    go(page, "map", "#map")
    page.wait(lambda: page.js(view) == before, "the view")
    assert page.js(FOCUS) == "map"
    assert "400.0030 → 200.0001" in page.text("#map-status")
    page.click("#map-fit")


def test_a_small_map_lies_in_the_middle(browser: Any, tmp_path: Path) -> None:
    page = report_of(browser, judged_run(tmp_path, [None] * 9), tmp_path)
    go(page, "map", "#map")
    cell = "return document.querySelector('.map-page').inspect().cell(...arguments)"
    page.wait(lambda: page.js("return document.querySelector('.map-page').inspect().scale") == 120, "the drawing")
    names = "return document.querySelector('.map-page').inspect().names"
    page.wait(lambda: page.js(names) == ["0001", "0002", "0003"], "the names of the rows")
    left, right = page.js(cell, 0, 0), page.js(cell, 2, 2)
    width = page.js("return document.getElementById('map').clientWidth")
    assert abs((left["x"] + right["x"]) / 2 - width / 2) < 80, "beside the names"
    assert page.errors() == []


def test_lists_of_photographs_keep_their_place(page: Page) -> None:
    go(page, "photographs", "#photograph-filter")
    page.js("window.scrollTo(0, 500)")
    page.wait(lambda: page.js("return window.scrollY") == 500, "scrolling")
    go(page, "image/3", ".image-page")
    page.wait(lambda: page.js("return window.scrollY") == 0, "the top of the photograph")
    go(page, "photographs", "#photograph-filter")
    page.wait(lambda: page.js("return window.scrollY") == 500, "the place")


@pytest.mark.parametrize("width", [1000, 390])
def test_a_narrow_table_shows_the_column_that_sorts(page: Page, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    shown = (
        "return [...document.querySelectorAll('.row.header .cell')].filter(e=>getComputedStyle(e).display!=='none')"
        ".map(e=>e.querySelector('button').dataset.sort).join(' ')"
    )
    try:
        page.open("pairs")
        assert page.js(shown) == "a b i p", "sorted by the verdict at first"
        first = page.js("return document.querySelector('.filler .row').lastChild.innerText")
        assert first == "same place 0.90"
        wide = page.js("return [...document.querySelectorAll('.row')].every(e=>e.scrollWidth<=e.clientWidth)")
        assert wide, "nothing sticks out"
        page.click("[data-sort=i]")
        page.wait(lambda: page.js(shown) == "a b i", "no more than is needed")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
