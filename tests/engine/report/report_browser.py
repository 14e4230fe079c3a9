"""A headless browser for the pages, and what a person does with it. Imported by the tests of reports."""

import atexit
import base64
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from report_samples import ListSource

from engine.photographs import Photographs
from engine.report import write_report

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
"""A browser and its driver; the tests of pages are skipped without them."""


def open_browser(language: str = "en-US", dark: bool = False, size: tuple[int, int] = (1440, 1000)) -> Any:
    """A headless Chromium with a profile of its own. Skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the package selenium")
    if not CHROMIUM or not DRIVER:
        pytest.skip("needs chromium and chromedriver on the PATH")
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.mkdtemp(prefix="report-browser-")
    atexit.register(shutil.rmtree, profile, ignore_errors=True)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-device-scale-factor=1",
        f"--lang={language}",
        f"--window-size={size[0]},{size[1]}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    return browser


class Page:
    """A report in a browser."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.index = browser, (folder / "index.html").as_uri()
        browser.execute_cdp_cmd("Page.enable", {})
        self.open("overview")

    def open(self, where: str) -> None:
        self.browser.get("about:blank")
        self.browser.get(f"{self.index}#/{where}")

    def js(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """Text of an element; empty while the page has none."""
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def click(self, selector: str) -> None:
        self.browser.find_element("css selector", selector).click()

    def type(self, selector: str, text: str) -> None:
        self.browser.find_element("css selector", selector).send_keys(text)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"waited in vain for {what}")

    def box(self, selector: str) -> dict[str, float]:
        """Place of an element in the window, brought into view."""
        return dict(
            self.js(
                "const e=document.querySelector(arguments[0]); e.scrollIntoView({block:'center'});"
                "const b=e.getBoundingClientRect(); return {x:b.x,y:b.y,w:b.width,h:b.height}",
                selector,
            )
        )

    def mouse(self, kind: str, x: float, y: float, pressed: bool = False) -> None:
        event = {"type": kind, "x": x, "y": y, "button": "left" if kind != "mouseMoved" or pressed else "none"}
        self.browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent", {**event, "buttons": int(pressed), "clickCount": int(kind != "mouseMoved")}
        )

    def click_at(self, x: float, y: float) -> None:
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, pressed=True)
        self.mouse("mouseReleased", x, y)

    def keys(self, selector: str, *keys: str) -> None:
        self.js("document.querySelector(arguments[0]).focus()", selector)
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                code = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
                self.browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, **code})

    def drawn(self) -> None:
        """Waits until what was asked for is on the screen."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def shot(self, selector: str) -> np.ndarray:
        data = self.browser.find_element("css selector", selector).screenshot_as_base64
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)

    def errors(self) -> list[str]:
        """What the console says, without the hint that the tests themselves cause by reading canvases."""
        said = [entry["message"] for entry in self.browser.get_log("browser")]
        return [message for message in said if "Multiple readback operations" not in message]


def report_of(browser: Any, source: ListSource, root: Path) -> Page:
    """The report of a made-up run with its photographs below `root/images`."""
    folder = write_report(source, root / "report", Photographs(root / "images"), root / "embeds").index.parent
    page = Page(browser, folder)
    page.js("localStorage.clear()")
    page.open("overview")
    return page
