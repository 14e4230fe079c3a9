"""The pages in a real browser, opened from a folder: what a person clicks, types, drags and reads."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from report_browser import Page, open_browser
from report_samples import (
    GRID_A,
    GRID_B,
    INLIERS,
    OUTLIERS,
    SIZE_A,
    SIZE_B,
    TRUE_MAP,
    ListSource,
    judged_run,
    pair_result,
    photograph,
    reference,
    small_run,
    tokens_of,
    write_small_report,
)

from engine.coordinates import project
from engine.photographs import Photographs
from engine.report import write_report
from engine.report.source import SourcePair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_report(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first pair of the report: 400.0001 and 200.0001."""
    source, _ = small_run(tmp_path_factory.mktemp("same"))
    return next(source.pairs()).result


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_browser()
    yield opened
    opened.quit()


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Page]:
    made = Page(browser, folder)
    made.js("localStorage.clear()")
    made.open("overview")
    yield made
    assert made.errors() == [], "the console must stay silent"


def test_the_overview_counts_photographs_pairs_and_models(page: Page) -> None:
    values = page.js("return [...document.querySelectorAll('.figure')].map(e=>e.innerText.replace(/\\s+/g,' '))")
    assert values[:4] == ["6 photographs", "9 pairs", "8 89 % pairs with a model", "9 median inliers"]
    assert values[4:] == ["13 ms per photograph", "20 ms per pair"]
    assert page.text(".card-name") == "400.0001 → 200.0001"
    assert "Pairs without a geometric model: 1." in page.text(".warnings")
    assert page.js("return [...document.images].every(i=>i.complete&&i.naturalWidth>0)")


def test_a_cell_of_the_map_opens_its_pair(page: Page) -> None:
    page.open("map")
    box = page.box("#map")
    # Rows are 400.0001 to 400.0003, columns 200.0001 to 200.0003: the pairs lie row by row.
    cell = page.js("return document.querySelector('.map-page').inspect().cell(1, 2)")
    page.mouse("mouseMoved", box["x"] + cell["x"], box["y"] + cell["y"])
    page.wait(lambda: "400.0002 → 200.0003" in page.text("#map-status"), "the name of the cell under the pointer")
    assert "9 inliers" in page.text("#map-status")
    # The line that has just appeared may have moved the map.
    box, cell = page.box("#map"), page.js("return document.querySelector('.map-page').inspect().cell(1, 2)")
    page.click_at(box["x"] + cell["x"], box["y"] + cell["y"])
    page.wait(lambda: page.js("return location.hash") == "#/pair/5", "the pair's page")


CELL_COLOUR = """const c=document.getElementById('map'), view=document.querySelector('.map-page').inspect();
    const p=view.cell(...arguments), s=view.scale;
    return [...c.getContext('2d').getImageData(Math.round(p.x-s*0.35),Math.round(p.y-s*0.35),1,1).data]"""


def rgb_of(page: Page, row: int, col: int) -> tuple[int, ...]:
    """Colour of a cell of the map; nothing before the first drawing."""
    red, green, blue, opacity = page.js(CELL_COLOUR, row, col)
    return (red, green, blue) if opacity == 255 else ()


def test_cells_have_the_colours_of_their_values(page: Page) -> None:
    page.open("map")
    page.wait(lambda: rgb_of(page, 0, 0), "the first drawing")
    scale = page.js("return Report.get('run').scale")
    rgb = [tuple(int(entry[at : at + 2], 16) for at in (1, 3, 5)) for entry in scale]
    assert rgb_of(page, 0, 0) == rgb[255], "the pair of most inliers is at the bright end"
    expected = rgb[round(255 * np.sqrt(9 / INLIERS))]
    assert rgb_of(page, 1, 2) == expected
    assert rgb_of(page, 2, 0) == (0xE2, 0xB4, 0xBC), "no model"
    assert "verdict" not in page.js("return [...document.getElementById('map-mode').options].map(o=>o.value)")


def colour_by(page: Page, mode: str) -> None:
    page.js(
        "const e=document.getElementById('map-mode'); e.value=arguments[0]; e.dispatchEvent(new Event('change'))", mode
    )


def test_cells_are_coloured_by_similarity(page: Page) -> None:
    page.open("map")
    page.wait(lambda: rgb_of(page, 0, 0), "the first drawing")
    colour_by(page, "similarity")
    cosines = np.array(page.js("return Report.get('pairs').c"))
    lowest, highest = (divmod(int(at), 3) for at in (cosines.argmin(), cosines.argmax()))
    scale = [
        tuple(int(entry[at : at + 2], 16) for at in (1, 3, 5)) for entry in page.js("return Report.get('run').scale")
    ]
    page.wait(lambda: rgb_of(page, *lowest) == scale[0], "the dark end")
    assert rgb_of(page, *highest) == scale[255]
    colour_by(page, "inliers")


@pytest.fixture
def judged(browser: Any, tmp_path: Path) -> Iterator[Page]:
    """A report with verdicts: of one place are the diagonal, and (2, 1) narrowly; (0, 2) has none."""
    source = judged_run(tmp_path, [0.999, 0.02, None, 0.1, 0.8, 0.31, 0.0, 0.5, 0.93])
    out = write_report(source, tmp_path / "report", Photographs(tmp_path / "images"), tmp_path).index.parent
    page = Page(browser, out)
    page.js("localStorage.clear()")
    page.open("overview")
    yield page
    assert page.errors() == []


def test_cells_are_coloured_by_verdict(judged: Page) -> None:
    judged.open("map")
    judged.wait(lambda: rgb_of(judged, 0, 0), "the first drawing")
    colour_by(judged, "verdict")
    same, other, none = (0x5E, 0xC9, 0x62), (0x4A, 0x66, 0xA8), (0xE2, 0xB4, 0xBC)
    judged.wait(lambda: rgb_of(judged, 0, 0) == same, "the colour of one place")
    colours = [[rgb_of(judged, row, col) for col in range(3)] for row in range(3)]
    assert colours == [[same, other, none], [other, same, other], [other, same, same]]
    entries = "[...document.querySelectorAll('.legend-entry')]"
    shown = dict(judged.js(f"return {entries}.map(e=>[e.textContent, e.querySelector('i').style.backgroundColor])"))
    assert shown["same place"] == "rgb(94, 201, 98)"
    assert shown["other place"] == "rgb(74, 102, 168)"
    assert "no verdict" in shown
    box = judged.box("#map")
    cell = judged.js("return document.querySelector('.map-page').inspect().cell(0, 1)")
    judged.mouse("mouseMoved", box["x"] + cell["x"], box["y"] + cell["y"])
    judged.wait(lambda: "other place 0.98" in judged.text("#map-status"), "the verdict of the cell")
    colour_by(judged, "inliers")


def test_verdicts_are_counted_listed_and_filtered(judged: Page) -> None:
    values = judged.js("return [...document.querySelectorAll('.figure')].map(e=>e.innerText.replace(/\\s+/g,' '))")
    assert "4 44 % same place" in values
    cards = judged.js("return [...document.querySelectorAll('.card')].map(e=>e.getAttribute('href'))")
    assert cards[:4] == ["#/pair/0", "#/pair/4", "#/pair/8", "#/pair/7"], "one place before more inliers"
    judged.open("pairs")
    rows = "return [...document.querySelectorAll('.filler .row')].sort((p,q)=>p.ariaRowIndex-q.ariaRowIndex)"
    assert judged.js(rows + ".map(e=>+e.dataset.row)") == [0, 8, 4, 7, 5, 3, 1, 6, 2], "no verdict comes last"
    assert judged.js(rows + ".map(e=>e.lastChild.textContent)")[:2] == ["same place 0.99", "same place 0.93"]
    judged.click("#filter-same")
    judged.wait(lambda: judged.text("#count") == "4 of 9 pairs", "the filter by verdict")
    judged.click("#filter-clear")
    judged.wait(lambda: judged.text("#count") == "9 of 9 pairs", "the cleared filter")
    judged.open("pair/1")
    assert "other place 0.98" in judged.text(".head")
    judged.click("#language")
    assert "다른 장소 0.98" in judged.text(".head")
    judged.click("#language")


def test_the_map_is_zoomed_and_walked_with_keys(page: Page) -> None:
    page.open("map")
    scale = "return document.querySelector('.map-page').inspect().scale"
    page.wait(lambda: page.js(scale) > 1, "the first drawing")
    page.click("#map-in")
    before = page.js(scale)
    page.keys("#map", "-")
    page.wait(lambda: page.js(scale) <= before, "zooming out")
    page.keys("#map", "ArrowDown", "ArrowRight")
    page.wait(lambda: "400.0002 → 200.0002" in page.text("#map-status"), "the cursor's cell")
    page.keys("#map", "Enter")
    page.wait(lambda: page.js("return location.hash") == "#/pair/4", "the pair's page")


def test_the_table_sorts_filters_and_opens(page: Page) -> None:
    page.open("pairs")
    rows = """return [...document.querySelectorAll('.filler .row')].sort((p,q)=>p.ariaRowIndex-q.ariaRowIndex)
        .map(e=>+e.dataset.row)"""
    # Most inliers first: 40, 35, 30, then 9, 9, 8 …, the pair without a model last.
    assert page.js(rows)[:3] == [0, 4, 8]
    assert page.js(rows)[-1] == 6
    page.click("[data-sort=m]")
    page.click("[data-sort=m]")
    assert page.js(rows)[0] == 6, "fewest matches first"
    page.type("#filter-text", "400.0002 g_200_0003")
    page.wait(lambda: page.text("#count") == "1 of 9 pairs", "the filter")
    assert page.js(rows) == [5]
    page.click("#filter-clear")
    page.wait(lambda: page.text("#count") == "9 of 9 pairs", "the cleared filter")
    page.type("#filter-least", "30")
    page.wait(lambda: page.text("#count") == "3 of 9 pairs", "the filter by inliers")
    page.click("#filter-clear")
    page.click("#filter-model")
    page.wait(lambda: page.text("#count") == "8 of 9 pairs", "the filter by model")
    page.click(".filler .row")
    page.wait(lambda: page.js("return location.hash").startswith("#/pair/"), "the pair's page")


def test_the_table_is_walked_with_keys(page: Page) -> None:
    page.open("pairs")
    page.keys("#rows", "ArrowDown", "ArrowDown", "Enter")
    page.wait(lambda: page.js("return location.hash") == "#/pair/8", "the third pair")


def open_pair(page: Page, tab: str, row: int = 0) -> None:
    page.open(f"pair/{row}")
    page.wait(lambda: page.js("return !!document.querySelector('#tab-matches')"), "the pair's page")
    page.click(f"#tab-{tab}")
    page.wait(
        lambda: page.js("return [...document.querySelectorAll('.view img')].every(i=>i.naturalWidth)"), "photographs"
    )


def on_photograph(page: Page, letter: str, point: np.ndarray) -> tuple[float, float]:
    box = page.box(f"[data-letter={letter}]")
    size = SIZE_A if letter == "a" else SIZE_B
    return box["x"] + (point[0] + 0.5) * box["w"] / size[0], box["y"] + (point[1] + 0.5) * box["h"] / size[1]


def test_hovering_a_match_shows_it_on_both_photographs(page: Page, first: Any) -> None:
    open_pair(page, "matches")
    at = int(np.flatnonzero(first.verification.inliers)[7])
    page.mouse("mouseMoved", *on_photograph(page, "a", first.points_a_px[at]))
    page.wait(lambda: page.js("return document.getElementById('matches').dataset.hovered") == str(at), "the match")
    assert (
        page.text("#match-line") == f"match {at + 1}: similarity {first.similarity[at]:.3f}, inlier, 0.71 px off in b"
    )
    # A white ring of radius 10 around the other end.
    x, y = on_photograph(page, "b", first.points_b_px[at])
    ring = """const c=document.getElementById('matches'), b=c.getBoundingClientRect();
        const [x, y] = [arguments[0]-b.x, arguments[1]-b.y];
        let white = 0;
        for (let k=0; k<16; k++) {
            const [px, py] = [x+10*Math.cos(k*Math.PI/8)-.5, y+10*Math.sin(k*Math.PI/8)-.5];
            const d = c.getContext('2d').getImageData(Math.round(px), Math.round(py), 1, 1).data;
            if (Math.min(d[0], d[1], d[2]) > 190 && d[3] > 200) white++;
        }
        return white"""
    page.wait(lambda: page.js(ring, x, y) >= 12, "the ring at the end in b")
    page.keys("#matches", "Escape")
    page.wait(lambda: page.js("return document.getElementById('matches').dataset.hovered") == "-1", "no match")


def test_the_slider_and_the_switches_choose_the_matches(page: Page, first: Any) -> None:
    open_pair(page, "matches")
    total = INLIERS + OUTLIERS
    page.wait(lambda: page.text("#shown") == f"{INLIERS} of {total} matches shown", "the inliers")
    page.click("#show-outliers")
    page.wait(lambda: page.text("#shown") == f"{total} of {total} matches shown", "all matches")
    slide = "const e=document.getElementById(arguments[0]); e.value=arguments[1]; e.dispatchEvent(new Event('input'))"
    page.js(slide, "least-similarity", 0.7)
    above = int((first.similarity >= 0.7).sum())
    page.wait(lambda: page.text("#shown") == f"{above} of {total} matches shown", "those above the threshold")
    page.click("#show-inliers")
    outliers = int(((first.similarity >= 0.7) & ~first.verification.inliers).sum())
    page.wait(lambda: page.text("#shown") == f"{outliers} of {total} matches shown", "the outliers alone")
    page.click("#show-inliers")
    page.click("#show-outliers")


def test_the_overlay_warps_a_onto_b(page: Page) -> None:
    open_pair(page, "overlay")
    stage = page.box("#stage")
    scale = stage["w"] / SIZE_B[0]
    w, h = SIZE_A
    corners = project(TRUE_MAP, np.array([[-0.5, -0.5], [w - 0.5, -0.5], [w - 0.5, h - 0.5], [-0.5, h - 0.5]]))
    expected = (corners + 0.5) * scale
    found = page.box(".warped")
    found["x"] -= page.js("return document.querySelector('#stage').getBoundingClientRect().x")
    lowest, highest = expected.min(axis=0), expected.max(axis=0)
    assert abs(found["x"] - lowest[0]) < 1
    assert abs(found["w"] - (highest - lowest)[0]) < 1
    assert abs(found["h"] - (highest - lowest)[1]) < 1
    # b was made from a by the very same map: where a covers b, the two look alike.
    slide = "const e=document.getElementById(arguments[0]); e.value=arguments[1]; e.dispatchEvent(new Event('input'))"
    page.js(slide, "opacity", 100)
    page.js(slide, "swipe", 100)
    warped = page.shot("#stage").astype(float)
    page.js(slide, "opacity", 0)
    below = page.shot("#stage").astype(float)
    height, width = below.shape[:2]
    to_stage = np.diag([width / SIZE_B[0], height / SIZE_B[1], 1.0]) @ TRUE_MAP
    covered = cv2.warpPerspective(np.ones((h, w), np.uint8), to_stage, (width, height))
    inner = cv2.erode(covered, np.ones((15, 15), np.uint8)) > 0
    assert inner.mean() > 0.3
    assert np.abs(warped - below)[inner].mean() < 6
    assert np.abs(np.roll(warped, 25, axis=1) - below)[inner].mean() > 12, "the measure tells a shift from a fit"


def test_the_edge_follows_a_drag(page: Page) -> None:
    open_pair(page, "overlay")
    box = page.box("#stage")
    page.mouse("mouseMoved", box["x"] + 5, box["y"] + 50)
    page.mouse("mousePressed", box["x"] + 5, box["y"] + 50, pressed=True)
    page.mouse("mouseMoved", box["x"] + 0.25 * box["w"], box["y"] + 60, pressed=True)
    page.mouse("mouseReleased", box["x"] + 0.25 * box["w"], box["y"] + 60)
    page.wait(lambda: abs(float(page.js("return document.getElementById('swipe').value")) - 25) <= 1, "the slider")
    clip = page.js("return document.querySelector('.layer').style.clipPath")
    assert abs(float(clip.split()[1].rstrip("%")) - 75) < 1


def test_the_checkerboard_shows_both_photographs(page: Page) -> None:
    open_pair(page, "checker")
    mask = page.js("const s=getComputedStyle(document.querySelector('.layer')); return [s.maskImage, s.maskSize]")
    assert mask[0].startswith("repeating-conic-gradient")
    assert mask[1].startswith("192px")
    page.js("const e=document.getElementById('tile'); e.value=40; e.dispatchEvent(new Event('input'))")
    assert page.js("return getComputedStyle(document.querySelector('.layer')).maskSize").startswith("80px")


def test_a_click_in_a_shows_the_similarity_over_b(page: Page) -> None:
    open_pair(page, "heat")
    page.wait(lambda: page.js("return document.getElementById('heat-b').width") == GRID_B[1], "the heat map")
    a, b = tokens_of("a", 1).astype(np.float32), tokens_of("b", 2).astype(np.float32)
    row, col = 3, 7
    box = page.box("#heat-a")
    page.click_at(box["x"] + (col + 0.5) * box["w"] / GRID_A[1], box["y"] + (row + 0.5) * box["h"] / GRID_A[0])
    token = row * GRID_A[1] + col
    page.wait(lambda: page.js("return document.getElementById('heat-a').dataset.token") == str(token), "the patch")
    cosines = b @ a[token]
    best = page.js("return document.querySelector('.over.quiet').dataset.best")
    assert int(best) == int(np.argmax(cosines))
    shown = float(page.text("#heat-line").split(":")[1].split("·")[0])
    assert abs(shown - float(cosines.max())) < 0.01, "8 bits a value keep the cosine to a hundredth"
    scale = page.js("return Report.get('run').scale")
    expected = (cosines - cosines.min()) / (cosines.max() - cosines.min())
    drawn = page.js(
        "const c=document.getElementById('heat-b');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    rgb = np.array([[int(entry[at : at + 2], 16) for at in (1, 3, 5)] for entry in scale])
    levels = [int(np.abs(rgb - drawn[4 * at : 4 * at + 3]).sum(axis=1).argmin()) for at in range(len(b))]
    assert np.abs(np.array(levels) / 255 - expected).max() < 0.02
    page.keys("#heat-a", "ArrowRight")
    page.wait(lambda: page.js("return document.getElementById('heat-a').dataset.token") == str(token + 1), "the next")


def test_a_pair_without_tokens_says_how_to_get_them(page: Page) -> None:
    open_pair(page, "heat", row=4)
    assert "--save-emb" in page.text("#view")


def test_a_pair_without_a_model_is_shown_with_its_matches(page: Page) -> None:
    open_pair(page, "matches", row=6)
    page.wait(lambda: page.text("#shown") == f"{OUTLIERS} of {OUTLIERS} matches shown", "the outliers")
    page.click("#tab-overlay")
    assert "no map from a to b" in page.text("#view")
    assert "no model found" in page.text(".head")


def test_numbers_of_the_geometry_and_files(page: Page) -> None:
    open_pair(page, "matches")
    facts = dict(
        page.js("return [...document.querySelectorAll('.facts > div')].map(e=>[...e.children].map(c=>c.textContent))")
    )
    assert facts["rotation of a"] == "20.0°"
    assert facts["scale, b px per a px"] == "1.250"
    assert facts["mean error of inliers"] == "0.71 px"
    assert facts["threshold"] == "8 px of the encoded image"
    link = page.js("return document.querySelector('.file').getAttribute('href')")
    assert link == "files/0/0-0.json"


def test_a_photograph_lists_its_best_partners(page: Page) -> None:
    page.open("photographs")
    page.click('.card[href="#/image/1"]')
    page.wait(lambda: page.text("h1") == "400.0002", "the photograph")
    partners = page.js("return [...document.querySelectorAll('.partners .card-name')].map(e=>e.textContent)")
    assert partners[0] == "200.0002"
    assert sorted(partners) == ["200.0001", "200.0002", "200.0003"]
    page.click(".more")
    page.wait(lambda: page.text("#count") == "3 of 9 pairs", "its pairs in the table")


def test_language_and_theme_are_switched_and_remembered(page: Page) -> None:
    assert page.js("return document.documentElement.lang") == "en"
    page.click("#language")
    assert page.text("#nav-pairs") == "쌍 목록"
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.js(ground)
    page.click("#theme")
    assert page.js("return document.documentElement.dataset.theme") == "dark"
    assert page.js(ground) == "rgb(17, 20, 24)" != light
    page.open("pairs")
    assert page.js("return document.documentElement.lang") == "ko"
    assert page.js("return document.documentElement.dataset.theme") == "dark"


def test_every_word_exists_in_both_languages(page: Page) -> None:
    assert page.js("Report.switchLanguage(); return Report.language()") == "ko"
    assets = Path(__file__).resolve().parents[3] / "engine" / "report" / "assets"
    names = {
        name
        for path in assets.glob("*.js")
        for name in re.findall(r'\bt\("(\w+)"', path.read_text(encoding="utf-8"))
        if not name.endswith("_")
    }
    assert len(names) > 60
    missing = page.js(
        "return arguments[0].filter(n => { try { return !Report.t(n) } catch (e) { return true } })", sorted(names)
    )
    assert missing == []


def test_korean_and_dark_follow_the_browser(folder: Path) -> None:
    opened = open_browser(language="ko-KR", dark=True)
    try:
        page = Page(opened, folder)
        assert page.js("return [document.documentElement.lang, document.documentElement.dataset.theme]") == [
            "ko",
            "dark",
        ]
        assert page.errors() == []
    finally:
        opened.quit()


def test_nothing_is_loaded_but_the_folder(page: Page) -> None:
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.get_log("performance")
    open_pair(page, "heat")
    sent = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    loaded = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    assert any(name.endswith("data/tokens/0-upright.js") for name in loaded)
    inside = page.index.removesuffix("index.html")
    assert [name for name in loaded if not name.startswith((inside, "data:", "about:"))] == []


def test_a_narrow_window_scrolls_only_down(page: Page) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for where in ("overview", "map", "pairs", "photographs", "image/0", "pair/0"):
            page.open(where)
            time.sleep(0.2)
            wide = page.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, where
            for what in {"pairs": [".names b"], "pair/0": ["pre"]}.get(where, []):
                page.wait(lambda what=what: page.js(f"return !!document.querySelector('{what}')"), what)
                widths = f"return [...document.querySelectorAll('{what}')].map(e => e.scrollWidth - e.clientWidth)"
                assert max(page.js(widths)) <= 0, f"{what} is cut off"
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_names_of_files_never_become_markup_or_code(browser: Any, tmp_path: Path) -> None:
    evil = '"><img src=x onerror="window.hacked=1"><script>window.hacked=2<'
    images = tmp_path / "images"
    path_a, path_b = images / f"{evil}.jpg", images / "b');window.hacked=3;(' \u2028${window.hacked=4}.jpg"
    photograph(path_a, SIZE_A, 1)
    photograph(path_b, SIZE_B, 2)
    a = reference(path_a, f"</script>{evil}/x", "a")
    b = reference(path_b, "b');window.hacked=3;('/\u2028${window.hacked=4}", "b")
    file = tmp_path / "match" / "<img src=x onerror=window.hacked=5>" / "r.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    source = ListSource([SourcePair(pair_result(a, b), file)], images)
    source.problems = ["<img src=x onerror=window.hacked=6>"]
    page = Page(browser, write_report(source, tmp_path / "report", Photographs(images), tmp_path).index.parent)
    for where in ("overview", "map", "pairs", "photographs", "image/0", "pair/0"):
        page.open(where)
        time.sleep(0.3)
        assert page.js("return window.hacked === undefined"), where
        assert page.js("return document.querySelectorAll('img[onerror], main script').length") == 0, where
    assert evil in page.text("#page")
    assert page.errors() == []


def test_a_missing_data_file_is_explained(browser: Any, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "data" / "pairs.js").unlink()
    page = Page(browser, copy)
    assert "data/pairs.js could not be loaded" in page.text("#page")
    page.errors()
