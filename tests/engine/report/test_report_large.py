"""2,000 photographs and 100,000 listed pairs: pages cost about what they do with few, and hold as little at a time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_browser import Page, open_browser
from report_samples import ListSource, photograph, reference

from engine.report.data_file import data_script
from engine.report.folder import ReportFolder
from engine.report.listing import ListedImage, Listing
from engine.report.pictures import PictureOutcome, thumb_name
from engine.report.write import pairs_document, run_document, write_pages

IMAGES, PAIRS = 2000, 100_000
FEW_IMAGES, FEW_PAIRS = 200, 1000
FRAMES = 40


def listing_of(count: int, pairs: int) -> Listing:
    rng = np.random.default_rng(0)
    half = count // 2
    base = reference(Path("x.jpg"), "400.0001", "a")
    images = []
    for altitude in (400, 200):
        for frame in range(half):
            key = f"{altitude}.{frame:04d}"
            ref = replace(base, key=key, path=Path(f"/flights/F_{altitude}/F_{altitude}_{frame:04d}.jpg"))
            images.append(ListedImage(ref, str(altitude)))
    codes = rng.choice(half * half, pairs, replace=False)
    matches = rng.integers(60, 300, pairs)
    return Listing(
        images=images,
        a=(codes // half).astype(np.int32),
        b=(half + codes % half).astype(np.int32),
        matches=matches.astype(np.int32),
        inliers=(matches * rng.beta(1, 6, pairs)).astype(np.int32),
        has_model=rng.random(pairs) > 0.05,
        error_px=rng.uniform(1, 20, pairs).astype(np.float32),
        cosine=rng.uniform(0, 1, pairs).astype(np.float32),
        same_place=np.full(pairs, np.nan, np.float32),
        forward_ms=[10.0],
        total_ms=[20.0],
    )


def write_listing(root: Path, listing: Listing) -> Path:
    folder = ReportFolder(root)
    photograph(root / "one.jpg", (192, 144), 1)
    thumb = (root / "one.jpg").read_bytes()
    for row in range(len(listing.images)):
        path = root / thumb_name(row)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(thumb)
    made = PictureOutcome(present=set(range(len(listing.images))))
    write_pages(folder)
    folder.write("data/pairs.js", data_script("pairs", pairs_document(listing, [])))
    run = run_document(ListSource([], root), listing, made, 0, [])
    folder.write("data/run.js", data_script("run", run))
    return root


@pytest.fixture(scope="module")
def listing() -> Listing:
    return listing_of(IMAGES, PAIRS)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, listing: Listing) -> Path:
    return write_listing(tmp_path_factory.mktemp("large"), listing)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_listing(tmp_path_factory.mktemp("small"), listing_of(FEW_IMAGES, FEW_PAIRS))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_browser()
    opened.set_script_timeout(120)
    yield opened
    opened.quit()


SCROLL = f"""const box = document.getElementById('rows'); let turn = 0;
    (function frame() {{
      if (turn++ >= {FRAMES}) return done();
      box.scrollTop += 500;
      requestAnimationFrame(frame);
    }})()"""
SETTLE = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"


class Clock:
    """Processor time of the page's main thread: what the pages cost, however busy the machine is."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def read_ms(self) -> float:
        metrics = self.browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return 1000 * float(next(entry["value"] for entry in metrics if entry["name"] == "TaskDuration"))

    def cost(self, script: str, then: str = SETTLE) -> float:
        """Milliseconds from an action until what follows it has called `done`: two frames, when it is on the screen."""
        before = self.read_ms()
        self.browser.execute_async_script(f"const done = arguments[arguments.length - 1]; {script}; {then}")
        return self.read_ms() - before


FILTERED = f"""const count = document.getElementById('count'), before = count.textContent;
    (function look() {{ if (count.textContent === before) return requestAnimationFrame(look); {SETTLE}; }})();"""
ACTIONS = {
    "first page": ("document.getElementById('language').click()", SETTLE, 40),
    "table": ("location.hash = '#/pairs'", SETTLE, 20),
    "scrolling": (SCROLL, "", 5),
    "sort": ("document.querySelector('[data-sort=c]').click()", SETTLE, 40),
    "filter": (
        "const e = document.getElementById('filter-text'); e.value = '07'; e.dispatchEvent(new Event('input'))",
        FILTERED,
        40,
    ),
    "map": ("location.hash = '#/map'", SETTLE, 60),
    "zoom": ("document.getElementById('map-in').click()", SETTLE, 20),
    "photographs": ("location.hash = '#/photographs'", SETTLE, 10),
}
"""What is done, what ends it, and how many times as long it may take with a hundred times as many pairs and ten times
as many photographs. What is drawn does not grow with them, and what is sorted or counted grows no faster."""


def costs(browser: Any, folder: Path) -> dict[str, float]:
    """Milliseconds of each action on a report, done one after another; the least of two rounds."""
    page, clock = Page(browser, folder), Clock(browser)
    rounds = []
    for _ in range(2):
        page.open("overview")
        clock.cost("")
        rounds.append({name: clock.cost(script, then) for name, (script, then, _) in ACTIONS.items()})
    return {name: min(costs[name] for costs in rounds) for name in ACTIONS}


def test_many_pairs_cost_little_more_than_few(browser: Any, small: Path, large: Path) -> None:
    few, many = costs(browser, small), costs(browser, large)
    for name, (_, _, times) in ACTIONS.items():
        print(f"{name}: {few[name]:.0f} ms and {many[name]:.0f} ms, {many[name] / few[name]:.1f} times as long")
        assert many[name] <= times * few[name], name
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_the_table_of_many_pairs_holds_few_rows(browser: Any, large: Path, listing: Listing) -> None:
    page = Page(browser, large)
    page.open("pairs")

    def numbers() -> list[int]:
        found: list[int] = page.js("return [...document.querySelectorAll('.filler .row')].map(e => +e.ariaRowIndex)")
        return found

    page.wait(lambda: 10 < len(numbers()) < 60, "the first rows")
    browser.execute_async_script("const done = arguments[0];" + SCROLL.replace("500", "5500"))
    assert len(numbers()) < 60
    assert page.js("return document.querySelectorAll('#rows img').length") < 120
    assert page.js("return document.getElementById('rows').scrollTop") > 200_000
    # The last row is the last of the order, and lies at the very end.
    page.js("const e = document.getElementById('rows'); e.scrollTop = e.scrollHeight")
    page.wait(lambda: max(numbers()) == PAIRS + 1, "the last row")
    page.js("document.querySelector('[data-sort=c]').click()")
    page.drawn()
    first = int(page.js("return +document.querySelector('.filler .row').dataset.row"))
    assert listing.cosine[first] >= listing.cosine.max() - 1e-4, "cosines are listed to four digits"
    page.type("#filter-text", "400.0007")
    expected = f"{int((listing.a == 7).sum())} of 100,000 pairs"
    page.wait(lambda: page.text("#count") == expected, "the pairs of the filter")
    assert page.errors() == []


def test_many_photographs_come_slice_by_slice_and_load_when_they_are_seen(browser: Any, large: Path) -> None:
    page = Page(browser, large)
    page.open("photographs")
    drawn = "return document.querySelectorAll('img.thumb').length"
    assert page.js("return Report.pages.photographs().querySelectorAll('.card').length") < 200
    page.wait(lambda: page.js(drawn) == IMAGES, "all cards")
    page.wait(lambda: page.js("return document.querySelectorAll('img.thumb[src]').length") > 0, "pictures")
    assert page.js("return document.querySelectorAll('img.thumb[src]').length") < IMAGES // 10
    assert page.js("return [...document.querySelectorAll('#page h2')].map(e => e.textContent)") == ["400", "200"]
    # Who comes back is where they were, though not all cards are there yet.
    place = page.js("window.scrollTo(0, 9000); return window.scrollY")
    assert place > 5000
    page.js("location.hash = '#/image/1500'")
    page.wait(lambda: page.js("return !!document.querySelector('.image-page')"), "the photograph")
    page.js("history.back()")
    page.wait(lambda: page.js(drawn) == IMAGES, "all cards again")
    assert page.js("return window.scrollY") == place
    page.type("#photograph-filter", "400.00")
    page.wait(lambda: page.text(".count") == "100 of 2,000 photographs", "the filter")
    assert page.js(drawn) == 100
    assert page.errors() == []
