"""`engine match` with verifying processes, ended in every way: nothing is lost, left behind or unexplained."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import texture, write_photograph

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="processes are looked up in /proc")

PROJECT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = 14
PAIRS = PHOTOGRAPHS * (PHOTOGRAPHS - 1) // 2
SMALL = """
import engine.result_writer as writer, engine.verify_pool as pool
writer.PAIRS_A_SHARD = 10
pool.PAIRS_A_TASK = 4
"""
"""Shards and tasks of few pairs, so that a small data set meets all the moments between them."""
SLOW = """
import time
from engine.result_writer import ResultWriter
add = ResultWriter.add
def slowly(self, result, with_json=True):
    time.sleep(0.03)
    add(self, result, with_json)
    print("pair", flush=True)
ResultWriter.add = slowly
"""


class Place:
    """A data set, and `engine match` in a process group of its own."""

    def __init__(self, folder: Path, graph: Path) -> None:
        self.folder, self.exports = folder, folder / "exports"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith(("_ROOT", "_HOST"))},
            "IMG_ROOT": str(folder.parent / "images"),
            "EXPORT_ROOT": str(self.exports),
            "GRAPH_ROOT": str(graph.parent),
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, prelude: str = "") -> subprocess.Popen[str]:
        # A shell starts what it runs in the background with Ctrl-C ignored, and every process below inherits that.
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"import sys\n{heard}\n{SMALL}{prelude}\nfrom engine.cli import main\nsys.exit(main(sys.argv[1:]))"
        return subprocess.Popen(
            [sys.executable, "-c", code, "match", "-i", "64", *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str, prelude: str = "") -> tuple[int, str, str]:
        process = self.start(*arguments, prelude=prelude)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def documents(self) -> dict[str, dict]:
        found = {}
        for path in sorted((self.exports / "pair_match").rglob("*.json")):
            document = json.loads(path.read_text("utf-8"))
            del document["time_ms"], document["meta"]
            found[path.name] = document
        return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "images"
    ground = texture(64, 320)
    for frame in range(1, PHOTOGRAPHS + 1):
        moved = ground[:, 16 * frame : 16 * frame + 80]
        write_photograph(folder / "A1_400" / f"A1_400_{frame:04d}.jpg", moved)
    return folder


@pytest.fixture
def place(images: Path, tiny_graph: Path, request: pytest.FixtureRequest) -> Place:
    folder = images.parent / request.node.name
    folder.mkdir()
    return Place(folder, tiny_graph)


@pytest.fixture(scope="module")
def expected(images: Path, tiny_graph: Path) -> dict[str, dict]:
    """What an undisturbed run without processes finds."""
    folder = images.parent / "undisturbed"
    folder.mkdir()
    undisturbed = Place(folder, tiny_graph)
    code, _, err = undisturbed.run("--workers", "0")
    assert (code, err) == (0, "")
    documents = undisturbed.documents()
    assert len(documents) == PAIRS
    return documents


def members(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, process_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(process_group) == group and state != "Z":
                found.append(int(folder.name))
    return found


def wait_until_empty(group: int) -> None:
    deadline = time.monotonic() + 20
    while members(group):
        assert time.monotonic() < deadline, "a process outlives the run"
        time.sleep(0.05)


def wait_for_pairs(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        count -= line == "pair\n"
        if count == 0:
            return
    raise AssertionError("the run ended before")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_ctrl_c_or_sigterm(stop: signal.Signals, place: Place, expected: dict[str, dict]) -> None:
    """Ctrl-C goes to the whole group, as a terminal sends it; SIGTERM to the run alone, as `kill` does."""
    process = place.start("--workers", "2", prelude=SLOW)
    wait_for_pairs(process, 15)
    (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + stop
    assert "Traceback" not in err
    assert "again" in err
    wait_until_empty(process.pid)
    kept = place.documents()
    assert 15 <= len(kept) < PAIRS
    assert kept.items() <= expected.items()
    code, out, err = place.run("--workers", "2")
    assert (code, err) == (0, "")
    assert f"{len(kept)} pair(s) already done" in out
    assert place.documents() == expected


@pytest.mark.parametrize(
    "after_s", [0.15, *(pytest.param(after_s, marks=pytest.mark.slow) for after_s in (0.0, 0.05, 0.1, 0.3, 0.6))]
)
def test_ctrl_c_while_processes_start(after_s: float, place: Place) -> None:
    """They have not been told yet to leave Ctrl-C to their parent."""
    process = place.start("--workers", "2", prelude=SLOW)
    deadline = time.monotonic() + 60
    while not any(is_worker(member) for member in members(process.pid)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_until_empty(process.pid)


SLOW_GRAPH = """
import time
import engine.photograph_encoder as encoder
forward = encoder.encode_batch
def slowly(pictures, runtime, rotation_deg=0.0):
    time.sleep(0.1)
    print("pair", flush=True)
    return forward(pictures, runtime, rotation_deg)
encoder.encode_batch = slowly
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_while_photographs_are_encoded(stop: signal.Signals, place: Place, expected: dict[str, dict]) -> None:
    """Those that are encoded are kept where the maps are stored."""
    process = place.start("-e", prelude=SLOW_GRAPH)
    wait_for_pairs(process, 5)
    os.killpg(process.pid, stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + stop
    assert "Traceback" not in err
    wait_until_empty(process.pid)
    code, out, err = place.run("-e", "--workers", "0")
    assert (code, err) == (0, "")
    encoded, reused = (int(part) for part in re.findall(r"(\d+) (?:encoded|reused)", out))
    assert reused >= 4
    assert encoded + reused == PHOTOGRAPHS
    assert place.documents() == expected


def is_worker(process: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_killed_run_leaves_no_process_and_the_next_goes_on(place: Place, expected: dict[str, dict]) -> None:
    process = place.start("--workers", "2", "--json-every", "3", prelude=SLOW)
    wait_for_pairs(process, 25)
    assert len([member for member in members(process.pid) if is_worker(member)]) >= 2
    process.kill()
    process.communicate()
    wait_until_empty(process.pid)
    kept = place.documents()
    assert 6 <= len(kept) < PAIRS / 3  # every third of at least twenty pairs
    code, out, err = place.run("--workers", "2", "--json-every", "3")
    assert (code, err) == (0, "")
    assert "pair(s) already done" in out
    documents = place.documents()
    assert len(documents) == -(-PAIRS // 3)
    assert documents.items() <= expected.items()
    code, out, _ = place.run("--workers", "0")
    assert code == 0
    assert "wrote matches" not in out, "a pair was matched again"
    assert place.documents() == expected


def test_a_killed_worker_is_said_and_finished_pairs_are_kept(place: Place, expected: dict[str, dict]) -> None:
    process = place.start("--workers", "1", prelude=SLOW)
    wait_for_pairs(process, 15)
    (worker,) = (member for member in members(process.pid) if is_worker(member))
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "ended from outside" in err
    assert "--workers 0" in err
    wait_until_empty(process.pid)
    kept = place.documents()
    assert 15 <= len(kept) < PAIRS
    assert kept.items() <= expected.items()
    code, out, _ = place.run("--workers", "0")
    assert code == 0
    assert f"{len(kept)} pair(s) already done" in out
    assert place.documents() == expected
