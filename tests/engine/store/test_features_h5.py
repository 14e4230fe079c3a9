import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import assert_same_arrays, make_features

from engine.errors import WorkError
from engine.store import hdf5
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore

ROOT = Path(__file__).parents[3]
IDENTITY = FeatureIdentity("ab" * 32, 336)
FACTS = FileFacts(1000, 1_700_000_000_000_000_001)
ARRAYS = ("descriptors", "norms", "token_index", "global_descriptor")
NAMES = ["250912_400/250912_400_0001.jpg", "내 드론/점심 사진 2.jpg", "top.jpg", "../../other place/x.jpg"]


def open_store(root: Path, **options) -> FeatureStore:
    return FeatureStore(root, "vitl16+", IDENTITY, **options)


def filled(root: Path, count: int = len(NAMES), **options) -> dict:
    maps = {
        NAMES[at] if at < len(NAMES) else f"f/{at:04d}.jpg": make_features(f"400.{at:04d}", at) for at in range(count)
    }
    with open_store(root, **options) as store:
        for name, features in maps.items():
            store.add(name, FACTS, features)
    assert store.problems == []
    return maps


def assert_same_map(one, other) -> None:
    assert_same_arrays(one, other, ARRAYS)
    assert one.descriptors.flags.c_contiguous
    for name in ("key", "grid", "image_size", "encoded_size"):
        assert getattr(one, name) == getattr(other, name)


def assert_holds(store: FeatureStore, maps: dict) -> None:
    assert sorted(store.names()) == sorted(maps)
    for name, features in maps.items():
        assert store.has(name, FACTS)
        assert_same_map(store.get(name, FACTS), features)


def shards(store: FeatureStore) -> list[Path]:
    return sorted(store.folder.glob("features-*.h5"))


# hloc's documented reading rules, written anew: names are the parents of data sets; key points by group and name;
# the matcher takes every item of a group as an array, and the image's size to make an empty image.
def list_h5_names(path: Path) -> list[str]:
    names = set()
    with h5py.File(str(path), "r", libver="latest") as file:
        file.visititems(
            lambda _, item: names.add(item.parent.name.strip("/")) if isinstance(item, h5py.Dataset) else None
        )
    return list(names)


def get_keypoints(path: Path, name: str) -> np.ndarray:
    with h5py.File(str(path), "r", libver="latest") as file:
        return file[name]["keypoints"].__array__()


def pair_data(path: Path, name: str) -> dict:
    data = {}
    with h5py.File(path, "r") as file:
        group = file[name]
        for key, item in group.items():
            data[key] = item.__array__().astype(np.float32)
        data["image"] = np.empty((1, *tuple(group["image_size"])[::-1]))
    return data


def test_maps_come_back_to_the_bit_before_and_after_writing(tmp_path):
    store = open_store(tmp_path)
    features = make_features("400.0001", 7)
    store.add(NAMES[0], FACTS, features)
    assert_same_map(store.get(NAMES[0], FACTS), features)
    store.close()
    assert_same_map(open_store(tmp_path).get(NAMES[0], FACTS), features)
    assert open_store(tmp_path).get("other.jpg") is None


def test_many_maps_in_bounded_shards(tmp_path):
    maps = filled(tmp_path, 23, shard_images=5)
    store = open_store(tmp_path)
    assert [path.name for path in shards(store)] == [f"features-{number:05d}.h5" for number in range(5)]
    assert_holds(store, maps)
    store.close()


def test_no_map_waits_longer_than_a_minute_while_others_come(tmp_path):
    now = [0.0]
    store = open_store(tmp_path, clock=lambda: now[0])
    counts = []
    for number, seconds in enumerate((0.0, 59.0, 60.5, 100.0, 119.0, 160.0, 200.0)):
        now[0] = seconds
        store.add(f"{number}.jpg", FACTS, make_features(f"400.{number:04d}", number))
        counts.append(len(shards(store)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_shards_are_bounded_in_bytes_too(tmp_path):
    maps = filled(tmp_path, 6, shard_bytes=2 * (4096 + 42 * 24 * 2 + 42 * 12 + 96))
    store = open_store(tmp_path)
    assert len(shards(store)) == 3
    assert_holds(store, maps)


def test_each_shard_is_readable_by_hloc(tmp_path):
    maps = filled(tmp_path)
    path = shards(open_store(tmp_path))[0]
    assert sorted(list_h5_names(path)) == sorted(maps)
    for name, features in maps.items():
        keypoints = get_keypoints(path, name)
        assert keypoints.dtype == np.float32
        np.testing.assert_array_equal(keypoints, features.points_px.astype(np.float32))
        data = pair_data(path, name)
        assert sorted(data) == ["descriptors", "global_descriptor", "image", "image_size", "keypoints", "scores"]
        np.testing.assert_array_equal(data["descriptors"], features.descriptors.T.astype(np.float32))
        np.testing.assert_array_equal(data["scores"], features.norms)
        np.testing.assert_array_equal(data["global_descriptor"], features.global_descriptor)
        assert data["image"].shape == (1, 750, 1000)
    with h5py.File(path) as file:
        kinds = {
            (name.rsplit("/", 1)[-1], item.dtype.str) for name, item in walk(file) if isinstance(item, h5py.Dataset)
        }
    assert kinds == {
        ("keypoints", "<f4"),
        ("descriptors", "<f2"),
        ("scores", "<f4"),
        ("image_size", "<i8"),
        ("global_descriptor", "<f4"),
    }


def walk(file) -> list:
    found = []
    file.visititems(lambda name, item: found.append((name, item)))
    return found


def test_the_first_token_lies_at_half_a_cell(tmp_path):
    filled(tmp_path, 1)
    keypoints = get_keypoints(shards(open_store(tmp_path))[0], NAMES[0])
    np.testing.assert_allclose(keypoints[0], [1000 / 14 - 0.5, 750 / 12 - 0.5], rtol=1e-6)


def test_a_changed_file_is_noticed(tmp_path):
    filled(tmp_path, 1)
    store = open_store(tmp_path)
    for changed in (FileFacts(1001, FACTS.modified_ns), FileFacts(1000, FACTS.modified_ns + 1)):
        assert not store.has(NAMES[0], changed)
        assert store.get(NAMES[0], changed) is None


def test_a_touched_file_with_equal_content_counts_as_unchanged(tmp_path):
    with open_store(tmp_path) as store:
        store.add("a.jpg", FileFacts(10, 1, "aa"), make_features("400.1"))
    store = open_store(tmp_path)
    assert store.has("a.jpg", FileFacts(10, 2, "aa"))
    assert not store.has("a.jpg", FileFacts(10, 1, "bb"))
    assert not store.has("a.jpg", FileFacts(10, 2))


def test_a_later_shard_wins(tmp_path):
    filled(tmp_path, 2)
    newer, facts = make_features("400.0001", 99), FileFacts(2000, 5)
    with open_store(tmp_path) as store:
        store.add(NAMES[0], facts, newer)
    for index in (True, False):
        if not index:
            (store.folder / "index.json").unlink()
        again = open_store(tmp_path)
        assert again.get(NAMES[0], FACTS) is None
        assert_same_map(again.get(NAMES[0], facts), newer)
        assert again.has(NAMES[1], FACTS)


def test_other_graph_size_preprocessing_or_view_does_not_mix(tmp_path):
    filled(tmp_path)
    others = [
        FeatureIdentity("cd" * 32, 336),
        FeatureIdentity("ab" * 32, 672),
        FeatureIdentity("ab" * 32, 336, preprocessing="dct"),
        FeatureIdentity("ab" * 32, 336, view="rotated_90"),
    ]
    stores = [FeatureStore(tmp_path, "vitl16+", identity) for identity in others]
    assert all(store.names() == [] for store in stores)
    assert len({store.folder for store in stores}) == 4


def test_a_shard_put_into_another_identitys_folder_is_reported(tmp_path):
    filled(tmp_path, 1)
    other = FeatureStore(tmp_path, "vitl16+", FeatureIdentity("cd" * 32, 336))
    other.folder.mkdir(parents=True)
    (other.folder / "features-00000.h5").write_bytes(shards(open_store(tmp_path))[0].read_bytes())
    other = FeatureStore(tmp_path, "vitl16+", FeatureIdentity("cd" * 32, 336))
    assert other.names() == []
    assert "another graph, preprocessing or view" in other.problems[0]


def test_only_whole_maps_and_real_names_are_taken(tmp_path):
    store = open_store(tmp_path)
    features = make_features("400.1")
    with pytest.raises(ValueError, match="full feature maps"):
        store.add("a.jpg", FACTS, features.select(np.arange(5)))
    for name in ("", "/a.jpg", "a//b.jpg", "./a.jpg", "a\0"):
        with pytest.raises(ValueError, match="not an image name"):
            store.add(name, FACTS, features)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"format": 1}', b"null", b"[" * 100_000, "overflow"])
def test_a_lost_or_damaged_index_is_rebuilt(tmp_path, content):
    maps = filled(tmp_path, 9, shard_images=4)
    store = open_store(tmp_path)
    index = store.folder / "index.json"
    good = index.read_bytes()
    if content is None:
        index.unlink()
    elif content == "overflow":
        index.write_bytes(good.replace(b'"bytes": ', b'"bytes": 1e999, "was": ', 1))
    else:
        index.write_bytes(content)
    with open_store(tmp_path) as rebuilt:
        assert_holds(rebuilt, maps)
        assert rebuilt.problems == []
    assert sorted(json.loads(index.read_bytes())["shards"]) == sorted(json.loads(good)["shards"])


def test_a_lying_index_is_never_believed(tmp_path):
    maps = filled(tmp_path, 8, shard_images=4)
    index = open_store(tmp_path).folder / "index.json"
    document = json.loads(index.read_bytes())
    entries = [document["shards"][f"features-{number:05d}.h5"] for number in (0, 1)]
    entries[0]["images"][0][1] += 1
    entries[0]["images"].append(["ghost.jpg", FACTS.bytes, FACTS.modified_ns, ""])
    entries[1]["images"].append(entries[0]["images"].pop(1))
    index.write_text(json.dumps(document))
    store = open_store(tmp_path)
    assert store.get("ghost.jpg", FACTS) is None
    for name, features in maps.items():
        found = store.get(name, FACTS)
        if found is not None:
            assert_same_map(found, features)
    assert_holds(store, maps)
    assert store.problems == []


def test_a_stale_index_is_rebuilt(tmp_path):
    filled(tmp_path, 2)
    index = open_store(tmp_path).folder / "index.json"
    old = index.read_bytes()
    newer = make_features("400.9", 9)
    with open_store(tmp_path) as store:
        store.add("new.jpg", FACTS, newer)
    index.write_bytes(old)
    assert_same_map(open_store(tmp_path).get("new.jpg", FACTS), newer)


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_a_truncated_shard_is_reported_and_its_images_encoded_again(tmp_path, keep):
    maps = filled(tmp_path, 8, shard_images=4)
    damaged = shards(open_store(tmp_path))[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else keep])
    store = open_store(tmp_path)
    assert len(store.problems) == 1
    assert str(damaged) in store.problems[0]
    lost = [name for name in maps if not store.has(name, FACTS)]
    assert len(lost) == 4
    for name in lost:
        store.add(name, FACTS, maps[name])
    store.close()
    assert_holds(open_store(tmp_path), maps)


def test_a_shard_altered_without_a_trace_in_size_and_time_is_found_when_read(tmp_path):
    maps = filled(tmp_path, 3)
    store = open_store(tmp_path)
    path = shards(store)[0]
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    store = open_store(tmp_path)
    assert store.problems == []
    assert store.get(NAMES[0], FACTS) is None
    assert "checksum" in store.problems[0]
    assert not any(store.has(name, FACTS) for name in maps)


def test_a_deleted_shard_and_one_deleted_during_the_run(tmp_path):
    maps = filled(tmp_path, 8, shard_images=4)
    shards(open_store(tmp_path))[0].unlink()
    store = open_store(tmp_path)
    assert len(store.names()) == 4
    shards(store)[0].unlink()
    name = store.names()[0]
    assert store.get(name, FACTS) is None
    assert "cannot be read" in store.problems[0]
    assert name in maps


@pytest.fixture(scope="module")
def shard_content(tmp_path_factory) -> tuple[Path, bytes, dict]:
    root = tmp_path_factory.mktemp("fuzz")
    maps = filled(root, 2)
    path = shards(open_store(root))[0]
    (path.parent / "index.json").unlink()
    return root, path.read_bytes(), maps


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_byte_may_be_wrong(shard_content, data):
    root, content, maps = shard_content
    changed = bytearray(content)
    start = data.draw(st.integers(0, len(content) - 1))
    changed[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path = open_store(root).folder / "features-00000.h5"
    path.write_bytes(changed)
    store = open_store(root)
    if bytes(changed) == content:
        assert_holds(store, maps)
    else:
        assert store.names() == []
        assert str(path) in store.problems[0]


def test_the_same_maps_give_the_same_bytes(tmp_path):
    filled(tmp_path / "one")
    filled(tmp_path / "other")
    one, other = (shards(open_store(tmp_path / name))[0] for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_two_writers_at_once_lose_nothing(tmp_path):
    first, second = open_store(tmp_path), open_store(tmp_path)
    maps = {f"{at}.jpg": make_features(str(at), at) for at in range(8)}
    for at, (name, features) in enumerate(maps.items()):
        (first, second)[at % 2].add(name, FACTS, features)
        (first, second)[at % 2].flush()
    first.close()
    second.close()
    store = open_store(tmp_path)
    assert len(shards(store)) == 8
    assert_holds(store, maps)


def test_an_output_that_cannot_be_written_keeps_the_maps_and_says_why(tmp_path):
    store = open_store(tmp_path)
    features = make_features("400.1")
    store.add("a.jpg", FACTS, features)
    blocking = store.folder.parent
    blocking.write_text("a file where a folder is needed")
    with pytest.raises(WorkError, match="is a file where a folder is needed"):
        store.flush()
    blocking.unlink()
    store.close()
    assert_same_map(open_store(tmp_path).get("a.jpg", FACTS), features)


def test_an_open_shard_keeps_little_of_what_was_read(tmp_path):
    """The library would keep up to 32 MB of each, and the store has several open."""
    hdf5.write_hdf5(tmp_path / "shard.h5", hdf5.build_hdf5(lambda file: file.create_group("image")))
    with hdf5.open_hdf5(tmp_path / "shard.h5") as file:
        assert file.id.get_mdc_config().max_size <= 1 << 19


def test_what_reads_back_differently_gets_no_name(tmp_path, monkeypatch):
    counter = itertools.count()
    monkeypatch.setattr(hdf5.zlib, "crc32", lambda *_: next(counter))
    store = open_store(tmp_path)
    store.add("a.jpg", FACTS, make_features("400.1"))
    with pytest.raises(WorkError, match="reads back differently"):
        store.flush()
    assert list(store.folder.iterdir()) == []


KILLED_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_samples import make_features
from test_features_h5 import FACTS, open_store
store = open_store(Path(sys.argv[1]), shard_images=3)
start = len(store.names())
print("ready", flush=True)
for at in range(start, 10**9):
    store.add(f"f/{at:06d}.jpg", FACTS, make_features(str(at), at))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_writer_leaves_complete_shards_only(tmp_path):
    rng = np.random.default_rng(0)
    for last in (False, False, False, True):
        command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(float(rng.uniform(0.01, 0.15)))
            while last and not list(tmp_path.rglob("features-*.h5")):
                time.sleep(0.01)
            writer.send_signal(signal.SIGKILL)
        store = open_store(tmp_path)
        assert store.problems == []
        assert len(store.names()) == 3 * len(shards(store))
        store.close()
    with open_store(tmp_path, shard_images=3) as store:
        names = store.names()
        assert sorted(names) == [f"f/{at:06d}.jpg" for at in range(len(names))]
        for at in range(0, len(names), max(1, len(names) // 20)):
            assert_same_map(store.get(f"f/{at:06d}.jpg", FACTS), make_features(str(at), at))
        store.add("last.jpg", FACTS, make_features("last"))
    assert len(names) >= 3
    assert not [name for name in os.listdir(store.folder) if ".partial-" in name]
