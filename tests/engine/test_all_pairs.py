"""`engine match` on many pairs: one answer whatever the memory, the workers and the blocks, and every way to ask."""

import json
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import texture, write_photograph
from numpy.typing import NDArray

from engine import block_run, cli_match, match_run, memory, pipeline, verification
from engine import photograph_encoder as encoder
from engine.errors import OutOfMemory
from engine.store.matches_h5 import MatchStore

FRAMES = 6


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Twelve photographs of two flights over one texture, of two sizes, large enough to be decoded smaller."""
    ground = texture(320, 640)
    for frame in range(1, FRAMES + 1):
        for flight, altitude, shift in (("A1", "400", 0), ("B2", "200", 32)):
            name = f"{flight}_{altitude}"
            moved = np.roll(ground, -16 * frame - shift, axis=1)[:, : 384 if frame < 4 else 448]
            write_photograph(tmp_path / "images" / name / f"{name}_{frame:04d}.jpg", moved)
    return tmp_path / "images"


@pytest.fixture
def match(command):
    return lambda *arguments: command("match", "-i", "96", *arguments)


def documents(exports: Path) -> dict[str, dict]:
    """Content of every JSON file by its name, without times and what describes the run."""
    found = {}
    for path in sorted(exports.rglob("*.json")):
        if path.name == "index.json":
            continue
        document = json.loads(path.read_text("utf-8"))
        del document["time_ms"], document["meta"]
        found[path.name] = document
    return found


def stored(tmp_path: Path) -> dict[tuple[str, str], bytes]:
    """Matches and inliers of every stored pair."""
    (folder,) = (tmp_path / "exports" / "pair_match").glob("*_matches/*")
    store = MatchStore(folder)
    found = {}
    for names in store.pairs():
        result = store.get(*names)
        assert result is not None
        arrays = (result.token_a, result.token_b, result.similarity, result.verification.inliers)
        found[names] = b"|".join(array.tobytes() for array in arrays)
    assert store.problems == []
    return found


def roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> Path:
    """Lets the runs that follow write elsewhere."""
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / name))
    return tmp_path / name


def small_plan(monkeypatch: pytest.MonkeyPatch, cached: int, block: int) -> None:
    """A budget smaller than `--memory` allows, so that a few small photographs exceed it."""
    monkeypatch.setattr(memory.MemoryPlan, "of", classmethod(lambda cls, _: cls(cached, block)))


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pictures of each run of the graph."""
    runs: list[int] = []
    forward = encoder.encode_batch

    def counted(pictures, runtime, rotation_deg=0.0):
        runs.append(len(pictures))
        return forward(pictures, runtime, rotation_deg)

    monkeypatch.setattr(encoder, "encode_batch", counted)
    return runs


def test_results_do_not_depend_on_memory_workers_or_blocks(match, tmp_path: Path, monkeypatch) -> None:
    ran = match()
    assert ran.code == 0
    expected, expected_stored = documents(tmp_path / "exports"), stored(tmp_path)
    assert len(expected) == len(expected_stored) == 66
    assert sum(sum(document["verification"]["inliers"]) > 8 for document in expected.values()) > 40
    for number, (arguments, side, plan) in enumerate(
        [
            (("--memory", "64M"), 64, None),
            (("--workers", "2"), 64, None),
            (("--workers", "1"), 1, None),
            (("--workers", "0"), 5, (1, 1)),
            ((), 3, (40_000, 30_000)),
        ]
    ):
        with monkeypatch.context() as changed:
            changed.setattr(block_run, "LARGEST_BLOCK", side)
            if plan is not None:
                small_plan(changed, *plan)
            exports = roots(changed, tmp_path, f"other{number}")
            ran = match(*arguments)
            assert ran.code == 0, ran.err
            assert documents(exports) == expected, arguments


def test_pair_by_pair_finds_what_blocks_find(match, tmp_path: Path, monkeypatch) -> None:
    """With one view only, as where views are searched: the path of `pipeline`, in the order of the pairs."""
    assert match().code == 0
    expected = documents(tmp_path / "exports")

    def one_by_one(pairs, procedure, cache, source, outcome, memory, force, times):
        return pipeline.match_one_by_one(pairs, procedure, cache, source, outcome, times)

    monkeypatch.setattr(match_run, "match_in_blocks", one_by_one)
    exports = roots(monkeypatch, tmp_path, "single")
    assert match().code == 0
    assert documents(exports) == expected


def test_many_pairs_use_processes_by_themselves() -> None:
    force = block_run.Workforce(threads=3)
    assert [force.processes(pairs) for pairs in (1, 399, 400, 10**6)] == [0, 0, 3, 3]
    assert block_run.Workforce(threads=3, workers=0).processes(10**6) == 0
    assert block_run.Workforce(threads=3, workers=7).processes(1) == 7


@pytest.mark.parametrize(
    ("pairs", "asked", "step"),
    [
        (1, None, 1),
        (10_000, None, 1),
        (10_001, None, 2),
        (2_671_516, None, 268),
        (2_671_516, 1, 1),
        (5, 9, 9),
        (0, None, 1),
    ],
)
def test_about_ten_thousand_json_files_at_most(pairs: int, asked: int | None, step: int) -> None:
    found = match_run.RunPlan(json_every=asked).json_step(pairs)
    assert found == step
    assert asked is not None or len(range(0, pairs, found)) <= match_run.JSON_FILES


def test_maps_beyond_the_budget_are_stored_and_no_photograph_is_encoded_twice(
    match, tmp_path: Path, monkeypatch
) -> None:
    small_plan(monkeypatch, 1, 1)
    runs = count_runs(monkeypatch)
    ran = match()
    assert ran.code == 0, ran.err
    assert sum(runs) == 2 * FRAMES
    assert "more than --memory leaves" in ran.err + ran.out
    assert list((tmp_path / "exports" / "dinov3_embeds").rglob("features-*.h5"))
    assert len(stored(tmp_path)) == 66


def test_within_the_budget_nothing_is_stored_but_matches(match, tmp_path: Path, monkeypatch) -> None:
    runs = count_runs(monkeypatch)
    assert match().code == 0
    assert sum(runs) == 2 * FRAMES
    assert not (tmp_path / "exports" / "dinov3_embeds").exists()


def test_of_many_photographs_maps_are_stored_and_reused(match, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cli_match, "STORED_PHOTOGRAPHS", 2 * FRAMES)
    runs = count_runs(monkeypatch)
    narrow = ("-a", "400", "-b", "400")
    assert match(*narrow).code == 0
    assert not (tmp_path / "exports" / "dinov3_embeds").exists()
    ran = match()
    assert "so that a stopped run can go on with them" in ran.out
    assert "12 encoded, 0 reused" in ran.out
    runs.clear()
    assert "0 encoded, 12 reused" in match("--match-th", "0.3").out
    assert runs == []
    assert "reused" not in match("--match-th", "0.3").out, "nothing is opened where there is nothing to do"


def test_touched_photographs_are_not_matched_again_and_replaced_ones_are(
    match, data_set: Path, tmp_path: Path, monkeypatch
) -> None:
    assert match().code == 0
    before = documents(tmp_path / "exports")
    runs = count_runs(monkeypatch)
    for number, path in enumerate(sorted(data_set.rglob("*.jpg"))):
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    for _ in range(2):
        ran = match()
        assert "66 pair(s) already done with these settings, left alone" in ran.out
        assert "wrote" not in ran.out
        assert runs == []
    assert documents(tmp_path / "exports") == before
    victim = data_set / "A1_400" / "A1_400_0002.jpg"
    content = bytearray(victim.read_bytes())
    content[-3] ^= 1  # of the image data: as large as before, and with another time
    victim.write_bytes(content)
    assert "55 pair(s) already done" in match().out
    assert "66 pair(s) already done" in match().out


def sides(name: str) -> tuple[str, str]:
    """The keys of a and b that a JSON file's name holds."""
    _, a, b = name.removesuffix(".json").split("_")
    return a, b


def names(exports: Path) -> set[frozenset[str]]:
    return {frozenset(sides(name)) for name in documents(exports)}


KEYS = [f"{altitude}.{frame:04d}" for altitude in ("200", "400") for frame in range(1, FRAMES + 1)]
ALL = {frozenset(pair) for pair in combinations(KEYS, 2)}


def near(pair: frozenset[str], count: int) -> bool:
    (flight, frame), (other, next_frame) = (key.split(".") for key in pair)
    return flight == other and abs(int(frame) - int(next_frame)) <= count


LOW = {pair for pair in ALL if all(key.startswith("200") for key in pair)}
CROSS = {pair for pair in ALL if len({key.split(".")[0] for key in pair}) == 2}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--pairs", "all"), ALL),
        (("--pairs", "cross-altitude"), CROSS),
        (("--pairs", "sequential:2"), {pair for pair in ALL if near(pair, 2)}),
        (("--pairs", "cross-altitude", "-a", "400.1"), {pair for pair in CROSS if "400.0001" in pair}),
        (("--pairs", "sequential:1", "-a", "200"), {pair for pair in LOW if near(pair, 1)}),
        (("--pairs", "cross-altitude", "-a", "400.2", "-b", "200.5"), {frozenset(("400.0002", "200.0005"))}),
    ],
)
def test_which_pairs(match, tmp_path: Path, arguments: tuple[str, ...], expected: set[frozenset[str]]) -> None:
    assert match(*arguments).code == 0
    assert names(tmp_path / "exports") == expected


def test_a_list_of_pairs_and_one_narrowed(match, tmp_path: Path) -> None:
    listed = tmp_path / "pairs.txt"
    listed.write_text("A1_400/A1_400_0001.jpg B2_200/B2_200_0002.jpg\n200.3 400.4\n")
    assert match("--pairs", listed, "-a", "400.4").code == 0
    assert names(tmp_path / "exports") == {frozenset(("200.0003", "400.0004"))}
    assert match("--pairs", listed).code == 0
    assert names(tmp_path / "exports") == {frozenset(("200.0003", "400.0004")), frozenset(("400.0001", "200.0002"))}
    ran = match("--pairs", listed, "-a", "400.6")
    assert ran.code == 2
    assert "leaves none" in ran.err


def test_retrieval_pairs_each_with_its_most_similar(match, tmp_path: Path, monkeypatch) -> None:
    """Reference: the cosine of global descriptors that the JSON files of all pairs hold."""
    assert match().code == 0
    cosine = {frozenset(sides(name)): found["cosine"] for name, found in documents(tmp_path / "exports").items()}
    expected = set()
    for key in KEYS:
        # Photographs of the flights show the same place now and then: ties go to the first of the data set, A1 at 400.
        others = sorted((other for other in KEYS if other != key), key=lambda other: (other[0] != "4", other))
        others.sort(key=lambda other: -cosine[frozenset((key, other))])
        expected.update(frozenset((key, other)) for other in others[:2])
    exports = roots(monkeypatch, tmp_path, "retrieval")
    runs = count_runs(monkeypatch)
    assert match("--pairs", "retrieval:2").code == 0
    assert names(exports) == expected
    assert sum(runs) == 2 * FRAMES, "descriptors and tokens come from one run of the graph"


def test_retrieval_leaves_unreadable_photographs_out(match, data_set: Path, tmp_path: Path) -> None:
    bad = data_set / "A1_400" / "A1_400_0004.jpg"
    bad.write_bytes(b"")
    ran = match("--pairs", "retrieval:1", "--workers", "1")
    assert ran.code == 1
    assert str(bad) in ran.out + ran.err
    found = names(tmp_path / "exports")
    assert {key for pair in found for key in pair} == set(KEYS) - {"400.0004"}


def test_retrieval_where_nothing_can_be_read(match, data_set: Path, tmp_path: Path) -> None:
    for path in data_set.rglob("*.jpg"):
        path.write_bytes(b"")
    ran = match("--pairs", "retrieval:1")
    assert ran.code == 1
    assert "only 0 of 12 photographs can be read" in ran.err
    assert "_0001.jpg is empty" in ran.err
    assert not documents(tmp_path / "exports")


def test_nothing_can_be_read_at_all(match, data_set: Path, tmp_path: Path) -> None:
    for path in data_set.rglob("*.jpg"):
        path.write_bytes(b"")
    ran = match("--workers", "1", "--both-directions")
    assert ran.code == 1
    assert "66 pair(s) left out" in ran.out
    assert not documents(tmp_path / "exports")


def test_both_directions(match, tmp_path: Path) -> None:
    assert match("--pairs", "sequential:1").code == 0
    once = documents(tmp_path / "exports")
    ran = match("--pairs", "sequential:1", "--both-directions")
    assert ran.code == 0
    both = documents(tmp_path / "exports")
    assert len(both) == 2 * len(once) == 2 * 2 * (FRAMES - 1)
    assert once.items() <= both.items()
    keys = {sides(name): found for name, found in both.items()}
    for (a, b), found in keys.items():
        back = keys[b, a]
        there = sorted(zip(found["patch"]["idx_a"], found["patch"]["idx_b"], strict=True))
        turned = sorted(zip(back["patch"]["idx_b"], back["patch"]["idx_a"], strict=True))
        assert there == turned
        assert found["cosine"] == back["cosine"]
    assert len(stored(tmp_path)) == len(both)
    ran = match("--pairs", "sequential:1", "--both-directions")
    assert "10 pair(s) already done" in ran.out
    assert "wrote" not in ran.out


def test_the_count_of_pairs_left_alone_is_right_when_files_are_restored(match, tmp_path: Path) -> None:
    arguments = ("--pairs", "sequential:1", "--both-directions")
    assert match(*arguments).code == 0
    before = documents(tmp_path / "exports")
    paths = sorted(path for path in (tmp_path / "exports").rglob("*.json") if path.name != "index.json")
    for path in paths[:3]:
        path.unlink()
    ran = match(*arguments)
    assert ran.code == 0
    assert "3 JSON file(s) written from results that were stored already" in ran.out
    for path in paths:
        path.unlink()
    ran = match(*arguments)
    assert f"{len(paths)} JSON file(s) written from results" in ran.out
    assert "already done" not in ran.out
    assert documents(tmp_path / "exports") == before
    paths[0].unlink()
    assert "9 pair(s) already done" in match(*arguments).out


def test_json_every_and_a_run_that_asks_for_more(match, tmp_path: Path, monkeypatch) -> None:
    assert match().code == 0
    expected = documents(tmp_path / "exports")
    order = list(stored(tmp_path))
    exports = roots(monkeypatch, tmp_path, "every")
    ran = match("--json-every", "5")
    assert ran.code == 0
    some = documents(exports)
    assert len(some) == 14  # of 66: the first, the sixth, ...
    assert some.items() <= expected.items()
    assert "--json-every" in ran.out
    (folder,) = (exports / "pair_match").glob("*_matches/*")
    assert len(list(MatchStore(folder).pairs())) == len(order) == 66
    assert "66 pair(s) already done" in match("--json-every", "5").out
    ran = match("--json-every", "1")
    assert "52 JSON file(s) written from results that were stored already" in ran.out
    assert documents(exports) == expected


@pytest.mark.parametrize("arguments", [("--workers", "0"), ("--rotations", "4")])
def test_the_filter_gets_the_best_matches_first(match, tmp_path: Path, monkeypatch, arguments: tuple[str, ...]) -> None:
    """In blocks, and pair by pair where views are searched."""
    given: list[NDArray[np.float64]] = []
    real = verification.call_filter

    def call(record, points_a, points_b, options):
        given.append(points_a)
        return real(record, points_a, points_b, options)

    monkeypatch.setattr(verification, "call_filter", call)
    assert match("-a", "400.1", *arguments).code == 0
    found = list(documents(tmp_path / "exports").values())
    assert len(found) == 11
    for document in found:
        similarity = np.asarray(document["patch"]["similarities"])
        assert len(similarity) > 3
        assert (np.diff(similarity) <= 0).all()
        image = document["images"]["a"]
        to_encoded = np.asarray(image["encoded_size"]) / np.asarray(image["size"])
        points = (np.asarray(document["points_px"]["a"]) + 0.5) * to_encoded - 0.5
        assert any(len(seen) == len(points) and np.abs(seen - points).max() < 1e-6 for seen in given)


def test_min_inliers_drops_geometry_and_keeps_matches(match, tmp_path: Path, monkeypatch) -> None:
    assert match().code == 0
    free = documents(tmp_path / "exports")
    limit = int(np.median([sum(document["verification"]["inliers"]) for document in free.values()])) + 1
    exports = roots(monkeypatch, tmp_path, "limited")
    assert match("--min-inliers", limit).code == 0
    kinds = set()
    for name, found in documents(exports).items():
        before = free[name]
        assert found["patch"] == before["patch"]
        enough = sum(before["verification"]["inliers"]) >= limit
        kinds.add(enough)
        assert (found["verification"]["matrix"] is not None) == enough
        assert sum(found["verification"]["inliers"]) == (sum(before["verification"]["inliers"]) if enough else 0)
    assert kinds == {True, False}


def test_fast_and_exact_never_mix(match, command, tmp_path: Path) -> None:
    """The stores are two folders, and results of one are not up to date for the other."""
    assert command("embed", "-i", "96", "--decode", "fast").code == 0
    assert "12 encoded, 0 reused" in command("embed", "-i", "96", "--decode", "exact").out
    assert "0 encoded, 12 reused" in command("embed", "-i", "96", "--decode", "exact").out
    folders = {path.parent.name for path in (tmp_path / "exports" / "dinov3_embeds").rglob("features-*.h5")}
    assert len(folders) == 2
    arguments = ("-a", "400.3", "-b", "200.1")
    assert "wrote" in match(*arguments, "--decode", "fast").out
    ran = match(*arguments, "--decode", "exact")
    assert "1 file(s) of other settings" in ran.out
    assert "already done" not in ran.out


@pytest.mark.parametrize("workers", ["1", "4"])
@pytest.mark.parametrize("batch", ["1", "3", "64"])
def test_embed_gives_the_same_maps_whatever_its_workers_and_batch(
    command, tmp_path: Path, workers: str, batch: str, monkeypatch
) -> None:
    runs = count_runs(monkeypatch)
    ran = command("embed", "-i", "96", "--workers", workers, "--batch", batch)
    assert ran.code == 0
    assert "12 encoded, 0 reused" in ran.out
    assert sum(runs) == 12
    assert max(runs) <= int(batch)


def test_embed_goes_on_with_smaller_batches_when_memory_ends(command, tmp_path: Path, monkeypatch) -> None:
    forward, refused, done = encoder.encode_batch, [], []

    def little_room(pictures, runtime, rotation_deg=0.0):
        if len(pictures) > 1:
            refused.append(len(pictures))
            raise OutOfMemory("no room")
        done.append(pictures[0][0].key)
        return forward(pictures, runtime, rotation_deg)

    monkeypatch.setattr(encoder, "encode_batch", little_room)
    ran = command("embed", "-i", "96", "--batch", "4", "-a", "400")
    assert ran.code == 0, ran.err
    assert refused
    assert len(refused) <= 2
    assert done == [key for key in KEYS if key.startswith("400")]


def test_an_unreadable_photograph_in_the_middle(match, data_set: Path, tmp_path: Path) -> None:
    bad = data_set / "A1_400" / "A1_400_0004.jpg"
    bad.write_bytes(bad.read_bytes()[:100])
    ran = match("--workers", "1")
    assert ran.code == 1
    assert ran.err.count(str(bad)) + ran.out.count(str(bad)) >= 1
    assert names(tmp_path / "exports") == {pair for pair in ALL if "400.0004" not in pair}
    assert "11 pair(s) left out" in ran.out
