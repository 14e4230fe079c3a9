"""Thousands of damaged or senseless inputs: each is read or refused in words, soon, and changes no file."""

import contextlib
import io
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from robust_runs import Workplace

from engine.cli import main
from engine.errors import Dinov3MatchError, ImageReadError, ResultFileError
from engine.imaging import Decoded, read_image, read_reduced
from engine.store.feature_shard import FeatureShardReader
from engine.store.features_h5 import FeatureStore
from engine.store.match_index import read_match_index
from engine.store.match_shard_reading import MatchShardReader
from engine.store.matches_h5 import MatchStore
from engine.store.result_json import existing_digest, read_result

LONGEST_S = 20.0
"""No single input may take longer, in time of the processor: other work on the machine decides nothing."""

many = pytest.mark.parametrize("count", [200, pytest.param(4000, marks=pytest.mark.slow)])
quietly = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The data with a few bytes changed, a part cut out, doubled or filled, or its end missing."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        at, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 16, 200))
        match rng.randrange(6):
            case 0 | 1:
                content[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                content[at : at + length] = rng.choice((b"\0", b"\xff")) * length
            case 5:
                content = content[: max(at, 1)]
    return bytes(content)


@contextlib.contextmanager
def soon(what: object) -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < LONGEST_S, what


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_graph: Path) -> Workplace:
    """A data set with results."""
    workplace = Workplace(tmp_path_factory.mktemp("fuzz"), tiny_graph, frames=2)
    code, _, err = workplace.run()
    assert code == 0, err
    return workplace


@many
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_damaged_images(suffix: str, count: int, tmp_path: Path) -> None:
    rng = random.Random(suffix)
    size = (40, 56) if suffix != ".jpg" else (168, 232)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    whole = cv2.imencode(suffix, cv2.blur(picture, (5, 5)))[1].tobytes()
    path = tmp_path / f"a{suffix}"
    read = unnamed = reduced = 0
    for number in range(count):
        data = damaged(whole, rng) if number % 8 else rng.randbytes(rng.randrange(64)) + whole[:8]
        path.write_bytes(data)
        with soon((suffix, number)):
            for decode in (read_image, read_small):
                try:
                    found = decode(path)
                except ImageReadError as error:
                    unnamed += str(path) not in str(error)
                    continue
                pixels = found if isinstance(found, np.ndarray) else found.pixels
                assert pixels.dtype == np.uint8
                assert pixels.ndim == 3
                assert pixels.shape[2] == 3
                if isinstance(found, Decoded):
                    assert pixels.shape[:2] == tuple(-(-side // found.reduction) for side in found.size[::-1])
                    reduced += found.reduction > 1
                read += 1
    assert read < 2 * count
    assert (reduced > count // 20) == (suffix == ".jpg")
    assert unnamed == 0


def read_small(path: Path) -> Decoded:
    """As photographs are read by default: a JPEG in the size it is needed in, here a sixteenth."""
    return read_reduced(path, lambda size: (max(1, size[0] // 16), max(1, size[1] // 16)))


@many
def test_damaged_result_files(count: int, finished: Workplace, tmp_path: Path) -> None:
    rng = random.Random(1)
    whole = next((finished.exports / "pair_match").rglob("*.json")).read_bytes()
    path, unnamed = tmp_path / "result.json", 0
    for number in range(count):
        path.write_bytes(damaged(whole, rng))
        with soon(number):
            existing_digest(path)
            try:
                read_result(path)
            except ResultFileError as error:
                unnamed += str(path) not in str(error)
    assert unnamed == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(quietly, max_examples=150)
@given(data=st.data())
def test_result_files_with_a_value_of_another_kind(data: st.DataObject, finished: Workplace) -> None:
    """Valid JSON whose shape is wrong in one place."""
    source = next((finished.exports / "pair_match").rglob("*.json"))
    document = json.loads(source.read_text("utf-8"))
    at = document
    while True:
        name = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[name], dict) or not at[name] or data.draw(st.booleans()):
            break
        at = at[name]
    if data.draw(st.booleans()):
        at[name] = data.draw(json_values)
    else:
        del at[name]
    path = finished.folder / "changed.json"
    path.write_text(json.dumps(document), "utf-8")
    with contextlib.suppress(ResultFileError):
        assert read_result(path).file == path


@many
def test_damaged_shards(count: int, finished: Workplace, tmp_path: Path) -> None:
    """A shard is either as it was written, to the byte, or refused before the HDF5 library sees it."""
    rng = random.Random(2)
    (matches,) = (finished.exports / "pair_match").glob("*_matches/*/matches-*.h5")
    (features,) = (finished.exports / "dinov3_embeds").glob("*/*/features-*.h5")
    index = matches.with_name("index.h5")
    with h5py.File(features, "r") as file:
        identity = str(file.attrs["identity"])
    read = {matches: 0, features: 0}
    unnamed = 0
    for number in range(count):
        source = (matches, features, index)[number % 3]
        path = tmp_path / source.name
        changed = damaged(source.read_bytes(), rng) if number > 3 else source.read_bytes()
        path.write_bytes(changed)
        with soon(number):
            if source is index:
                assert read_match_index(path) is None or changed == source.read_bytes()
                continue
            try:
                reader = FeatureShardReader(path, identity) if source is features else MatchShardReader(path, None)
            except ResultFileError as error:
                unnamed += str(path) not in str(error)
            else:
                read[source] += 1
                assert changed == source.read_bytes()
                if isinstance(reader, FeatureShardReader):
                    reader.close()
    assert unnamed == 0
    assert all(read.values()), "each reader also met its own shard whole"


@many
def test_stores_with_damaged_files(count: int, finished: Workplace, tmp_path: Path) -> None:
    """Opening a store over damaged shards and indexes, and reading all of it, names what is damaged."""
    rng = random.Random(3)
    (folder,) = (finished.exports / "pair_match").glob("*_matches/*")
    for name in ("matches-00000.h5", "index.h5"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for number in range(count // 4):
        name = ("matches-00000.h5", "index.h5")[number % 2]
        whole = (folder / name).read_bytes()
        changed = damaged(whole, rng)
        (tmp_path / name).write_bytes(changed)
        with soon(number):
            store = MatchStore(tmp_path)
            found = len(list(store.results()))
        if name == "index.h5":
            assert (found, store.problems) == (6, [])
        else:
            assert (found, len(store.problems)) == ((6, 0) if changed == whole else (0, 1))
        (tmp_path / name).write_bytes(whole)


def test_hdf5_files_of_others_in_place_of_shards(finished: Workplace, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "matches-00000.h5", "w") as file:
        file["images"] = np.arange(3)
    store = MatchStore(tmp_path)
    assert list(store.pairs()) == []
    assert "not of this program" in store.problems[0]
    assert FeatureStore.__init__.__kwdefaults__


WORDS = """
match embed vis convert plugins -a -b -w -i -x -t -k -l -e -M -F -g --tag --to --out --run --matcher --filter --regex
--exts --image-size --provider --max-features --reproj-th --confidence --iters --help --version = - -- ( [ * ?
400 400.1 A1:400.0001 vits16 cpu hloc colmap 336 -1 0 nan inf 1e999 k=1 k= =2 ratio=x mutual_knn off
"""
# Without what leads to other folders, as any text may be taken for a place to write to.
LETTERS = st.characters(exclude_characters="\0/\\.~", exclude_categories=["Cs"])
ARGUMENT = st.sampled_from(WORDS.split()) | st.text(LETTERS, max_size=12)


COMMANDS = st.sampled_from(["match", "embed", "convert", "vis", "plugins", ""])


@settings(quietly, max_examples=100)
@given(command=COMMANDS, rest=st.lists(ARGUMENT, max_size=6))
def test_senseless_command_lines(command: str, rest: list[str], finished: Workplace) -> None:
    run_senseless(command, rest, finished)


@pytest.mark.slow
@settings(quietly, max_examples=3000)
@given(command=COMMANDS, rest=st.lists(ARGUMENT, max_size=8))
def test_thousands_of_senseless_command_lines(command: str, rest: list[str], finished: Workplace) -> None:
    run_senseless(command, rest, finished)


def run_senseless(command: str, rest: list[str], finished: Workplace) -> None:
    """Exit code 0, 1 or 2 and words; no traceback, and no file anywhere but below the output folder."""
    arguments = [command, *rest] if command else rest
    photographs = {path: path.stat().st_mtime_ns for path in finished.images.rglob("*")}
    before = Path.cwd()
    saved = dict(os.environ)
    os.environ.update({name: value for name, value in finished.environment.items() if name.endswith("_ROOT")})
    work = finished.folder / "elsewhere"
    work.mkdir(exist_ok=True)
    os.chdir(work)
    try:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), soon(arguments):
            try:
                code = main(arguments)
            except Dinov3MatchError as error:
                raise AssertionError(arguments) from error
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(saved)
    assert code in (0, 1, 2), arguments
    assert "Traceback" not in err.getvalue()
    assert code == 0 or err.getvalue() or out.getvalue(), arguments
    assert {path: path.stat().st_mtime_ns for path in finished.images.rglob("*")} == photographs
