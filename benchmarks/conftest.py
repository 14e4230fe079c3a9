"""Options and data of the benchmarks: `pytest benchmarks [--quick] [--weights ALIAS] [--results DIR]`."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="fewer levels and pairs: a first look")
    parser.addoption("--weights", default="vitt16", help="the backbone measured (default: vitt16, the bundled one)")
    parser.addoption("--results", default=None, metavar="DIR", help="keep figures, pairs and curves in this folder")
    parser.addoption(
        "--evaluate-options", default="", metavar="TEXT", help="further options of engine evaluate, as one text"
    )


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture
def weights(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--weights"))


@pytest.fixture
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a benchmark leaves its files."""
    kept = request.config.getoption("--results")
    return Path(str(kept)).resolve() if kept else tmp_path


@pytest.fixture
def aerial() -> Path:
    """Real aerial photographs with a truth file; skips where they are not there."""
    folder = Path(os.environ.get("DINOV3_MATCH_AERIAL", ROOT.parent / "shared" / "data" / "aerial"))
    if not (folder / "truth.json").is_file():
        pytest.skip(f"no photographs to measure on: set DINOV3_MATCH_AERIAL to a data set with a truth.json ({folder})")
    return folder
