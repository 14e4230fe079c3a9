"""Runs of the program on a small data set, and what they leave behind, for the robustness tests."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from engine.store.feature_shard import FeatureShardReader
from engine.store.hdf5 import check_hdf5
from engine.store.matches_h5 import MatchStore
from engine.store.result_json import read_result
from engine.store.shards import list_shards

PROJECT = Path(__file__).resolve().parents[2]


def make_data_set(folder: Path, frames: int = 3, side: int = 96) -> Path:
    """Photographs of two flights over one texture, moved from frame to frame."""
    rng = np.random.default_rng(0)
    ground = np.zeros((side, side * 2, 3), np.float32)
    for cells in (4, 12, 40):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        ground += cv2.resize(noise, (side * 2, side), interpolation=cv2.INTER_CUBIC)
    ground = np.clip(128 + 55 * ground, 0, 255).astype(np.uint8)
    for frame in range(1, frames + 1):
        for flight, altitude, shift in (("A1", "400", 0), ("B2", "200", 16)):
            path = folder / f"{flight}_{altitude}" / f"{flight}_{altitude}_{frame:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            moved = np.roll(ground, -16 * frame - shift, axis=1)[:, : side + 32]
            path.write_bytes(cv2.imencode(".jpg", moved)[1].tobytes())
    return folder


NO_PROGRESS = "import engine.progress; engine.progress.LINE_EVERY_S = float('inf')"
"""A busy machine must not make a run tell how far it is, where a test expects it to say nothing."""


class Forks:
    """Starts runs in processes forked from one that has imported the program (see `forked.py`)."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py"))],
            cwd=PROJECT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, question: dict[str, Any]) -> int | None:
        """The answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer


@functools.cache
def forks() -> Forks:
    """One for all tests; it ends with them, as its input does."""
    return Forks()


class Run:
    """A run in a process of its own, used as one of `subprocess`."""

    def __init__(self, code: str, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._said = Path(tempfile.mkdtemp(dir=folder, prefix=".said-"))
        question = {"code": code, "arguments": list(arguments), "folder": str(folder), "environment": environment}
        files = {name: str(self._said / name) for name in ("out", "err")}
        pid = forks().ask({**question, **files})
        assert pid is not None
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = forks().ask({"ask": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)  # until it has been asked how it ended, the number stays its own

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Waits for its end; standard output and standard error."""
        latest = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < latest, f"still running after {timeout} s"
            time.sleep(0.003)
        out, err = (self._said / name for name in ("out", "err"))
        return (out.read_text("utf-8") if out.exists() else ""), (err.read_text("utf-8") if err.exists() else "")


class Workplace:
    """A data set, a graph and an output folder, and the command to run on them."""

    def __init__(self, folder: Path, graph: Path, frames: int = 3) -> None:
        self.folder = folder
        self.images = make_data_set(folder / "images", frames)
        self.exports = folder / "exports"
        graphs = folder / "graphs"
        graphs.mkdir(parents=True)
        shutil.copy(graph, graphs / "vits16-fp32.onnx")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith(("_ROOT", "_HOST"))},
            "IMG_ROOT": str(self.images),
            "EXPORT_ROOT": str(self.exports),
            "GRAPH_ROOT": str(graphs),
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, prelude: str = "", exports: Path | None = None) -> Run:
        """Starts `engine match` in a process of its own, after some Python code of the test's."""
        code = f"import sys\n{NO_PROGRESS}\n{prelude}\nfrom engine.cli import main\nsys.exit(main(sys.argv[1:]))"
        environment = {**self.environment, "EXPORT_ROOT": str(exports or self.exports)}
        return Run(code, ["match", "-i", "96", "-e", *arguments], self.folder, environment)

    def run(self, *arguments: str, prelude: str = "", exports: Path | None = None) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a whole run."""
        process = self.start(*arguments, prelude=prelude, exports=exports)
        out, err = process.communicate()
        assert process.returncode is not None
        return process.returncode, out, err


SMALL_SHARDS = """
import engine.result_writer as writer, engine.store.features_h5 as features
writer.PAIRS_A_SHARD = 3
features.SHARD_IMAGES = 2
features.FeatureStore.__init__.__kwdefaults__['shard_images'] = 2
"""
"""Makes a shard of every few results, so that a small data set meets all the moments between shards."""


def json_results(exports: Path) -> dict[str, dict]:
    """Content of every JSON file by its path below the exports, without times and places."""
    found = {}
    for path in sorted((exports / "pair_match").rglob("*.json")):
        document = json.loads(path.read_text("utf-8"))
        del document["time_ms"], document["meta"]
        found[str(path.relative_to(exports))] = document
    return found


def stored_matches(exports: Path) -> dict[tuple[str, str], dict[str, object]]:
    """Everything in the match store but times, by names."""
    (folder,) = (exports / "pair_match").glob("*_matches/*")
    store = MatchStore(folder)
    found = {}
    for name_a, name_b in store.pairs():
        result = store.get(name_a, name_b)
        assert result is not None
        verification = result.verification
        matrix = verification.matrix
        found[name_a, name_b] = {
            "cosine": result.cosine,
            "matrix": None if matrix is None else matrix.tobytes(),
            "inliers": verification.inliers.tobytes(),
            "selected": (result.selected_a, result.selected_b),
            **{
                field: getattr(result, field).tobytes()
                for field in ("token_a", "token_b", "similarity", "points_a_px", "points_b_px")
            },
        }
    assert store.problems == []
    return found


def stored_features(exports: Path) -> dict[str, tuple[bytes, ...]]:
    """Every stored feature map, by name."""
    (folder,) = (exports / "dinov3_embeds").glob("*/*")
    found = {}
    for shard in list_shards(folder, "features"):
        identity = _identity(shard.path)
        reader = FeatureShardReader(shard.path, identity)
        for name, _ in reader.images():
            features = reader.read(name)
            arrays = (features.descriptors, features.norms, features.global_descriptor, features.points_px)
            found[name] = tuple(array.tobytes() for array in arrays)
        reader.close()
    return found


def _identity(path: Path) -> str:
    with h5py.File(path, "r") as file:
        return str(file.attrs["identity"])


def everything(exports: Path) -> tuple[dict, dict, dict]:
    """All that must not depend on what happened on the way."""
    return json_results(exports), stored_matches(exports), stored_features(exports)


def check_complete_files(exports: Path) -> None:
    """Every file under a final name can be read whole, at any moment."""
    for path in exports.rglob("*"):
        if not path.is_file() or ".partial-" in path.name:
            continue
        if path.suffix == ".h5":
            check_hdf5(path)
        elif path.name == "index.json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".json":
            read_result(path)
        else:
            assert path.name.endswith("_failed.txt"), path


def partial_files(exports: Path) -> list[Path]:
    return [path for path in exports.rglob("*") if ".partial-" in path.name]
