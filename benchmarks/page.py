"""The page of figures: where tables go, and what they were measured on."""

import platform
from pathlib import Path

from engine.context import installed_versions
from engine.runtime import usable_cores

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


def machine() -> str:
    """Processor, cores and versions, in a line."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return f"{processor}, {usable_cores()} cores, Python {platform.python_version()}, {versions}"


def write_between(name: str, text: str, page: Path = PAGE) -> Path:
    """Puts text between `<!-- name -->` and `<!-- end of name -->` of a page, and returns the page's path.

    Raises:
        ValueError: the page has no such place.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} has no {begin} … {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
    return page
