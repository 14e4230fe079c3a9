import itertools
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import IMG_ROOT, assert_same_arrays, make_image, make_result, make_run

from engine.dataset import file_entry
from engine.errors import WorkError
from engine.pairs import AllPairs
from engine.store.facts import FileFacts
from engine.store.match_index import IndexRows, read_match_index, write_match_index
from engine.store.matches_h5 import MatchStore, match_folder
from engine.store.names import image_name
from engine.store.pair_index import ROW_BITS, PairIndex, place
from engine.store.pair_places import PairPlaces
from engine.store.result_json import read_result, result_path, write_result

ROOT = Path(__file__).parents[3]
RUN = make_run()
ARRAYS = ("token_a", "token_b", "points_a_px", "points_b_px", "similarity")
PLAIN = ("image_a", "image_b", "cosine", "selected_a", "selected_b", "time_ms")
IMAGES = [make_image(frame, grid=grid) for frame, grid in enumerate([(6, 7), (6, 7), (5, 9), (8, 8), (6, 7)])]


def name_of(image) -> str:
    return image_name(image.path, IMG_ROOT)


def open_store(root: Path, **options) -> MatchStore:
    return MatchStore(match_folder(root, RUN.settings), RUN, **options)


def make_results() -> list:
    pairs = itertools.combinations(IMAGES, 2)
    return [make_result(a, b, seed, refined=seed % 4 == 3, model=seed % 3 > 0) for seed, (a, b) in enumerate(pairs)]


def filled(root: Path, **options) -> list:
    results = make_results()
    with open_store(root, **options) as store:
        for result in results:
            store.append(result)
    assert store.problems == []
    return results


def assert_same_result(one, other) -> None:
    assert_same_arrays(one, other, ARRAYS)
    for name in PLAIN:
        assert getattr(one, name) == getattr(other, name), name
    first, second = one.verification, other.verification
    assert_same_arrays(first, second, ["inliers"])
    assert (first.matrix is None) == (second.matrix is None)
    if second.matrix is not None:
        assert_same_arrays(first, second, ["matrix"])
    for name in ("filter", "kind", "options", "reproj_unit"):
        assert getattr(first, name) == getattr(second, name), name


def names_of(result) -> tuple[str, str]:
    return name_of(result.image_a), name_of(result.image_b)


def assert_holds(store: MatchStore, results: list) -> None:
    assert sorted(store.pairs()) == sorted(map(names_of, results))
    for result in results:
        assert store.has(result.image_a, result.image_b)
        assert_same_result(store.get(*names_of(result)), result)


def shards(store: MatchStore) -> list[Path]:
    return sorted(store.folder.glob("matches-*.h5"))


@pytest.mark.parametrize(("limits", "count"), [({}, 1), ({"shard_pairs": 3}, 4), ({"shard_matches": 1}, 10)])
def test_results_come_back_to_the_bit(tmp_path, limits, count):
    results = filled(tmp_path, **limits)
    store = open_store(tmp_path)
    assert len(shards(store)) == count
    assert_holds(store, results)
    for found, result in zip(store.results(), results, strict=True):
        assert_same_result(found, result)
    assert store.get("no", "such") is None
    assert not store.has(IMAGES[1], IMAGES[0])


def test_waiting_results_are_found_too(tmp_path):
    store = open_store(tmp_path)
    results = make_results()
    for result in results:
        store.append(result)
    assert_holds(store, results)
    assert not store.folder.exists()
    changed = replace(results[0].image_a, modified_ns=1)
    assert not store.has(changed, results[0].image_b)


def test_points_are_stored_only_where_tokens_do_not_give_them(tmp_path):
    a, b = IMAGES[:2]
    for refined in (False, True):
        with open_store(tmp_path / str(refined)) as store:
            store.append(make_result(a, b, 1, count=9, refined=refined))
        with h5py.File(shards(store)[0]) as file:
            assert ("points_b_px" in file["matches"]) == refined
            assert file["matches/token_a"].dtype == np.int32
            assert file["matches/similarity"].dtype == np.float32
            assert file["pairs/matrix"].shape == (1, 3, 3)


def test_json_and_hdf5_say_the_same(tmp_path):
    results = filled(tmp_path)
    store = open_store(tmp_path)
    for result in results:
        path = result_path(tmp_path, "vitl16+", result.image_a.label, result.image_b.label)
        write_result(path, result, RUN)
        read, stored = read_result(path), store.get(*names_of(result))
        assert_same_arrays(read, stored, ARRAYS)
        assert_same_arrays(read.verification, stored.verification, ["inliers"])
        assert (read.verification.matrix is None) == (stored.verification.matrix is None)
        if stored.verification.matrix is not None:
            assert_same_arrays(read.verification, stored.verification, ["matrix"])
        assert (read.cosine, read.time_ms) == (stored.cosine, stored.time_ms)
        assert read.image_a.path == stored.image_a.path


def test_a_pair_matched_again_replaces_the_older(tmp_path):
    first = filled(tmp_path)[0]
    newer = make_result(first.image_a, first.image_b, 77)
    with open_store(tmp_path) as store:
        store.append(newer)
        assert_same_result(store.get(*names_of(first)), newer)
    for index in (True, False):
        if not index:
            (store.folder / "index.h5").unlink()
        again = open_store(tmp_path)
        assert_same_result(again.get(*names_of(first)), newer)
        assert len(list(again.pairs())) == 10


def test_twice_before_writing_the_last_counts(tmp_path):
    a, b = IMAGES[:2]
    with open_store(tmp_path) as store:
        store.append(make_result(a, b, 1))
        store.append(make_result(a, b, 2))
    assert_same_result(open_store(tmp_path).get(name_of(a), name_of(b)), make_result(a, b, 2))


def test_a_changed_image_makes_its_pairs_new(tmp_path):
    old = filled(tmp_path)[0]
    changed = replace(old.image_a, modified_ns=old.image_a.modified_ns + 1)
    store = open_store(tmp_path)
    assert not store.has(changed, old.image_b)
    newer = replace(make_result(old.image_a, old.image_b, 50), image_a=changed)
    store.append(newer)
    store.close()
    for index in (True, False):
        if not index:
            (store.folder / "index.h5").unlink()
        store = open_store(tmp_path)
        assert store.has(changed, old.image_b)
        assert not store.has(old.image_a, old.image_b)
        assert_same_result(store.get(*names_of(old)), newer)
        assert len(list(store.pairs())) == 10


def test_other_settings_have_a_folder_of_their_own(tmp_path):
    folders = {match_folder(tmp_path, make_run(image_size=size).settings) for size in (336, 672)}
    assert len(folders) == 2
    assert {folder.parent.name for folder in folders} == {"vitl16+_matches"}


def test_a_shard_put_into_another_settings_folder_is_reported(tmp_path):
    filled(tmp_path)
    other = make_run(image_size=672)
    folder = match_folder(tmp_path, other.settings)
    folder.mkdir(parents=True)
    (folder / "matches-00000.h5").write_bytes(shards(open_store(tmp_path))[0].read_bytes())
    store = MatchStore(folder, other)
    assert list(store.pairs()) == []
    assert "other settings" in store.problems[0]


def test_a_change_of_the_filter_starts_a_new_shard(tmp_path):
    a, b, c = IMAGES[:3]
    other = make_result(a, c, 2)
    other = replace(other, verification=replace(other.verification, filter="affine"))
    with open_store(tmp_path) as store:
        store.append(make_result(a, b, 1))
        store.append(other)
    store = open_store(tmp_path)
    assert len(shards(store)) == 2
    assert_same_result(store.get(name_of(a), name_of(c)), other)


def test_reading_needs_no_run_and_writing_does(tmp_path):
    results = filled(tmp_path)
    store = MatchStore(match_folder(tmp_path, RUN.settings))
    assert [names_of(result) for result in store.results()] == [names_of(result) for result in results]
    with pytest.raises(ValueError, match="read only"):
        store.append(results[0])


def test_arrays_of_different_lengths_are_refused(tmp_path):
    result = make_result(*IMAGES[:2], count=4)
    with pytest.raises(ValueError, match="one length"):
        open_store(tmp_path).append(replace(result, similarity=result.similarity[:3]))


def test_no_matches_korean_and_undecodable_names(tmp_path):
    strange = replace(IMAGES[0], path=Path("/elsewhere/드론 사진/caf\udce9.jpg"), key="사진/caf\udce9")
    result = make_result(strange, IMAGES[1], count=0)
    with open_store(tmp_path) as store:
        store.append(result)
    store = open_store(tmp_path)
    assert store.has(strange, IMAGES[1])
    assert_same_result(next(store.results()), result)


@pytest.mark.parametrize("content", [None, b"", b"garbage", "truncated", "altered"])
def test_a_lost_or_damaged_index_is_rebuilt(tmp_path, content):
    results = filled(tmp_path, shard_pairs=3)
    index = open_store(tmp_path).folder / "index.h5"
    good = index.read_bytes()
    if content is None:
        index.unlink()
    elif content == "truncated":
        index.write_bytes(good[: len(good) // 2])
    elif content == "altered":
        index.write_bytes(good[:3000] + bytes([good[3000] ^ 1]) + good[3001:])
    else:
        index.write_bytes(content)
    with open_store(tmp_path) as store:
        assert_holds(store, results)
    assert index.read_bytes() == good


def test_a_stale_index_is_completed(tmp_path):
    results = filled(tmp_path)
    index = open_store(tmp_path).folder / "index.h5"
    old = index.read_bytes()
    added = make_result(IMAGES[1], IMAGES[0], 30)
    with open_store(tmp_path) as store:
        store.append(added)
    index.write_bytes(old)
    assert_holds(open_store(tmp_path), [*results, added])


def test_a_lying_index_is_never_believed(tmp_path):
    results = filled(tmp_path, shard_pairs=3)
    path = open_store(tmp_path).folder / "index.h5"
    index = read_match_index(path)
    (rows,) = index.rows
    lying = IndexRows(rows.image_b, rows.image_a, rows.shard, rows.row[::-1] + 1)
    write_match_index(path, replace(index, rows=[lying]))
    store = open_store(tmp_path)
    assert store.get(*reversed(names_of(results[0]))) is None
    assert_holds(store, results)
    assert store.problems == []


def test_an_unchanged_store_is_not_written_again(tmp_path):
    filled(tmp_path)
    index = open_store(tmp_path).folder / "index.h5"
    before = index.stat().st_mtime_ns
    open_store(tmp_path).close()
    assert index.stat().st_mtime_ns == before


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_a_truncated_shard_is_reported_and_its_pairs_matched_again(tmp_path, keep):
    results = filled(tmp_path, shard_pairs=4)
    damaged = shards(open_store(tmp_path))[1]
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else keep])
    store = open_store(tmp_path, shard_pairs=4)
    assert len(store.problems) == 1
    assert str(damaged) in store.problems[0]
    lost = [result for result in results if not store.has(result.image_a, result.image_b)]
    assert [names_of(result) for result in lost] == [names_of(result) for result in results[4:8]]
    for result in lost:
        store.append(result)
    store.close()
    assert_holds(open_store(tmp_path), results)


def test_a_shard_altered_without_a_trace_in_size_and_time_is_found_when_read(tmp_path):
    results = filled(tmp_path)
    path = shards(open_store(tmp_path))[0]
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    store = open_store(tmp_path)
    assert store.get(*names_of(results[0])) is None
    assert "checksum" in store.problems[0]
    assert not any(store.has(result.image_a, result.image_b) for result in results)


@pytest.fixture(scope="module")
def shard_content(tmp_path_factory) -> tuple[Path, bytes, list]:
    root = tmp_path_factory.mktemp("fuzz")
    results = filled(root)
    path = shards(open_store(root))[0]
    (path.parent / "index.h5").unlink()
    return root, path.read_bytes(), results


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_byte_may_be_wrong(shard_content, data):
    root, content, results = shard_content
    changed = bytearray(content)
    start = data.draw(st.integers(0, len(content) - 1))
    changed[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path = open_store(root).folder / "matches-00000.h5"
    path.write_bytes(changed)
    store = open_store(root)
    if bytes(changed) == content:
        assert_holds(store, results)
    else:
        assert list(store.pairs()) == []
        assert str(path) in store.problems[0]


def test_two_writers_at_once_lose_nothing(tmp_path):
    first, second = open_store(tmp_path), open_store(tmp_path)
    results = make_results()
    for at, result in enumerate(results):
        (first, second)[at % 2].append(result)
        (first, second)[at % 2].flush()
    first.close()
    second.close()
    assert_holds(open_store(tmp_path), results)


def test_an_output_that_cannot_be_written_keeps_the_results_and_says_why(tmp_path):
    store = open_store(tmp_path)
    result = make_results()[0]
    store.append(result)
    blocking = store.folder.parent
    blocking.write_text("a file where a folder is needed")
    with pytest.raises(WorkError, match="is a file where a folder is needed"):
        store.flush()
    blocking.unlink()
    store.close()
    assert_holds(open_store(tmp_path), [result])


KILLED_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_samples import make_image, make_result
from test_matches_h5 import open_store
store = open_store(Path(sys.argv[1]), shard_pairs=4)
start = len(list(store.pairs()))
first = make_image(0, grid=(6, 7))
print("ready", flush=True)
for at in range(start + 1, 10**9):
    store.append(make_result(first, make_image(at, grid=(6, 7)), at))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_writer_leaves_complete_shards_only(tmp_path):
    rng = np.random.default_rng(0)
    for round_number in range(4):
        command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            give_up = time.monotonic() + 60  # on a busy machine, the first shard may take its time
            while round_number == 0 and not shards(open_store(tmp_path)) and time.monotonic() < give_up:
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0.01, 0.15)))
            writer.send_signal(signal.SIGKILL)
        store = open_store(tmp_path)
        assert store.problems == []
        assert len(list(store.pairs())) == 4 * len(shards(store))
    first = make_image(0, grid=(6, 7))
    count = len(list(store.pairs()))
    assert count >= 4
    for at in range(1, count + 1, max(1, count // 20)):
        other = make_image(at, grid=(6, 7))
        assert_same_result(store.get(name_of(first), name_of(other)), make_result(first, other, at))
    store.append(make_result(first, IMAGES[3], 1))
    store.close()
    assert not [name for name in os.listdir(store.folder) if ".partial-" in name]


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), max_size=12), st.randoms())
def test_the_pair_index_is_a_dictionary_in_which_the_greatest_place_counts(batches, random):
    index, expected = PairIndex(), {}
    order = list(enumerate(batches))
    random.shuffle(order)
    for shard, batch in order:
        a, b = (np.asarray(side, np.int64) for side in (zip(*batch, strict=True) if batch else ([], [])))
        index.add(a, b, place(shard, np.arange(len(batch))))
        for row, pair in enumerate(batch):
            expected[pair] = max(expected.get(pair, -1), shard << ROW_BITS | row)
    every = list(itertools.product(range(-1, 7), range(-1, 7)))
    for first, second in every:
        assert index.find(first, second) == expected.get((first, second))
    found = index.find_all(*np.array(every).T)
    assert found.tolist() == [expected.get(pair, -1) for pair in every]

    def held():
        return {(a, b): at for a, partners, places in index.parts() for b, at in zip(partners, places, strict=True)}

    assert len(index) == len(expected)
    assert held() == expected
    index.drop(0)
    kept = {pair: at for pair, at in expected.items() if at >> ROW_BITS}
    assert len(index) == len(kept)
    assert held() == kept


def test_places_beyond_32_bits_keep_their_order():
    index = PairIndex()
    last = 1 << (33 - ROW_BITS)
    for slot in (0, last, last - 1):
        index.add(np.array([1]), np.array([2]), place(slot, np.array([7])))
    assert index.find(1, 2) == last << ROW_BITS | 7


def test_many_pairs_are_looked_up_as_one_by_one(tmp_path):
    results = filled(tmp_path, shard_pairs=3)
    changed = replace(results[2].image_a, modified_ns=1)
    with open_store(tmp_path) as store:
        store.append(replace(results[2], image_a=changed))
    store = open_store(tmp_path)
    images = [*IMAGES, changed]
    a, b = np.array(list(itertools.product(range(len(images)), repeat=2))).T
    found = store.has_all([(image.path, FileFacts.of(image)) for image in images], a, b)
    assert found.tolist() == [store.has(images[row], images[column]) for row, column in zip(a, b, strict=True)]
    assert found.any()
    assert not store.has(results[2].image_a, results[2].image_b)
    assert not store.has_all([(image.path, None) for image in images], a, b).any()


def test_half_a_million_pairs_take_little_memory_and_little_disk(tmp_path):
    """8 bytes a pair in memory; as they are added a few hundred at a time, no copy of all is made."""
    pairs = AllPairs([file_entry(Path(f"/{number}.jpg")) for number in range(1000)])
    places = PairPlaces()
    for number in range(1000):
        places.versions.add((f"{number}.jpg", 1, 1), "")
    tracemalloc.start()
    try:
        for slot, start in enumerate(range(0, len(pairs), 500)):
            a, b = pairs.numbers(slice(start, start + 500))
            places._numbers.append(slot)
            places._index.add(a, b, place(slot, np.arange(len(a))))
        write_match_index(tmp_path / "index.h5", places.as_index([]))
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert (tmp_path / "index.h5").stat().st_size < 1e6
    read = read_match_index(tmp_path / "index.h5")
    assert sum(len(rows.row) for rows in read.rows) == read.pairs == len(pairs)
    first = next(iter(read.rows))
    assert (first.image_a[:3].tolist(), first.image_b[:3].tolist()) == ([0, 0, 0], [1, 2, 3])


def test_a_touched_image_is_known_by_its_digest(tmp_path):
    a, b = (replace(image, sha256=letter * 64) for image, letter in zip(IMAGES[:2], "ab", strict=True))
    with open_store(tmp_path) as store:
        store.append(make_result(a, b))
        assert store.has(replace(a, modified_ns=5), b), "before it is written"
    for index in (True, False):
        if not index:
            (store.folder / "index.h5").unlink()
        store = open_store(tmp_path)
        assert store.get(name_of(a), name_of(b)).image_a.sha256 == a.sha256
        touched, facts = replace(a, modified_ns=5), FileFacts(a.bytes, 5)
        assert store.has(touched, b)
        assert store.has_all([(a.path, FileFacts.of(touched)), (b.path, FileFacts.of(b))], *np.array([[0], [1]])).all()
        assert store.needs_digest(a.path, facts)
        assert not store.needs_digest(a.path, FileFacts.of(a)), "its time tells"
        assert not store.needs_digest(a.path, FileFacts(a.bytes + 1, 5)), "its size tells"
        for other in (facts, FileFacts(a.bytes, 5, "c" * 64), FileFacts(a.bytes + 1, 5, a.sha256)):
            assert not store.has_files(a.path, other, b.path, FileFacts.of(b))
