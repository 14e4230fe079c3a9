"""The COLMAP database, read back with plain SQL by COLMAP's documentation, and by pycolmap where it is installed."""

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from convert_samples import FUNDAMENTAL, GRID, HOMOGRAPHY, NAMES, SIZE, image, refined, result, settings, store_matches

from engine.convert.colmap import convert_to_colmap
from engine.convert.source import Source
from engine.hooks import ModelKind

CELLS = GRID[0] * GRID[1]


@pytest.fixture
def roots(tmp_path):
    return tmp_path / "match", tmp_path / "images"


def database(roots, results, out: Path, cameras: str = "folder") -> tuple[Path, list[str]]:
    folder = store_matches(roots[0], roots[1], results)
    said = convert_to_colmap(Source(folder, settings(), out / "embed"), out, cameras)
    return out / "database.db", said


def rows(path: Path, query: str, *values) -> list[tuple]:
    with sqlite3.connect(path) as connection:
        return connection.execute(query, values).fetchall()


def image_ids(path: Path) -> dict[str, int]:
    return dict(rows(path, "SELECT name, image_id FROM images"))


def pair_id(id1: int, id2: int) -> int:
    if id1 > id2:
        id1, id2 = id2, id1
    return id1 * 2147483647 + id2


def keypoints(path: Path, image_id: int) -> np.ndarray:
    (count, columns, data), *_ = rows(path, "SELECT rows, cols, data FROM keypoints WHERE image_id = ?", image_id)
    return np.frombuffer(data, np.float32).reshape(count, columns)


def matrix(blob: bytes | None) -> np.ndarray | None:
    return None if blob is None else np.frombuffer(blob, np.float64).reshape(3, 3)


def geometry(path: Path, id1: int, id2: int):
    query = "SELECT rows, cols, data, config, F, E, H FROM two_view_geometries WHERE pair_id = ?"
    (count, columns, data, config, f, e, h), *_ = rows(path, query, pair_id(id1, id2))
    return np.frombuffer(data, np.uint32).reshape(count, columns), config, matrix(f), matrix(e), matrix(h)


def test_images_cameras_and_keypoints(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    path, said = database(roots, [result(refs[0], refs[1]), result(refs[2], refs[1])], tmp_path / "out")
    assert said == []
    assert list(image_ids(path)) == list(NAMES)
    cameras = rows(
        path,
        "SELECT name, model, width, height, params, camera_id FROM images JOIN cameras USING (camera_id)",
    )
    for _, model, width, height, params, _ in cameras:
        assert (model, width, height) == (2, *SIZE)
        np.testing.assert_allclose(np.frombuffer(params), [1.2 * 640, 320, 240, 0])
    of = {name: camera for name, *_, camera in cameras}
    assert of[NAMES[1]] == of[NAMES[2]] != of[NAMES[0]]
    for name, image_id in image_ids(path).items():
        points = keypoints(path, image_id)
        # COLMAP: the image's top-left corner is (0, 0), so that the first token's centre is half a token in.
        np.testing.assert_allclose(points[0], [SIZE[0] / GRID[1] / 2, SIZE[1] / GRID[0] / 2], rtol=1e-6)
        np.testing.assert_allclose(points[-1], np.array(SIZE) - points[0], rtol=1e-6)
        assert points.shape == (CELLS, 2), name


@pytest.mark.parametrize(("cameras", "count"), [("folder", 2), ("image", 3), ("single", 1)])
def test_shared_cameras(cameras, count, roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    path, _ = database(roots, [result(refs[0], refs[1]), result(refs[2], refs[1])], tmp_path / "out", cameras)
    assert rows(path, "SELECT count(*) FROM cameras") == [(count,)]
    assert rows(path, "SELECT count(DISTINCT camera_id) FROM images") == [(count,)]


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0)])
def test_homographies_have_the_direction_of_the_pair_id(a, b, roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    found = refined(result(refs[a], refs[b], seed=3))
    path, _ = database(roots, [found], tmp_path / "out")
    ids = image_ids(path)
    inliers, config, f, e, h = geometry(path, ids[NAMES[0]], ids[NAMES[1]])
    assert (config, f, e) == (6, None, None)
    points_1, points_2 = keypoints(path, ids[NAMES[0]]), keypoints(path, ids[NAMES[1]])
    mapped = np.column_stack([points_1[inliers[:, 0]], np.ones(len(inliers))]) @ h.T
    # Every refined match fits the homography, so column 1 of the inliers lies where H sends column 0.
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], points_2[inliers[:, 1]], rtol=0, atol=2e-3)
    assert len(inliers) == found.verification.inlier_count > 50
    (count, data), *_ = rows(
        path, "SELECT rows, data FROM matches WHERE pair_id = ?", pair_id(ids[NAMES[0]], ids[NAMES[1]])
    )
    matches = np.frombuffer(data, np.uint32).reshape(count, 2)
    assert set(map(tuple, inliers.tolist())) < set(map(tuple, matches.tolist()))
    side = 0 if a == 0 else 1
    np.testing.assert_array_equal(matches[:, side], found.token_a)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0)])
def test_fundamental_matrices_have_the_direction_of_the_pair_id(a, b, roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    path, _ = database(roots, [result(refs[a], refs[b], ModelKind.EPIPOLAR)], tmp_path / "out")
    ids = image_ids(path)
    _, config, f, _, h = geometry(path, ids[NAMES[0]], ids[NAMES[1]])
    assert (config, h) == (3, None)
    rng = np.random.default_rng(0)
    points_a, points_b = rng.uniform(0, 640, (2, 50, 2))
    ours = np.sum(np.column_stack([points_b, np.ones(50)]) @ FUNDAMENTAL * np.column_stack([points_a, np.ones(50)]), 1)
    first, second = (points_a, points_b) if a == 0 else (points_b, points_a)
    first, second = (np.column_stack([points + 0.5, np.ones(50)]) for points in (first, second))
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", second, f, first), ours, rtol=1e-9, atol=1e-12)


def test_pairs_without_model_and_without_filter(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    none = result(refs[0], refs[1])
    lost = dataclasses.replace(none.verification, matrix=None, inliers=np.zeros(len(none.similarity), bool))
    path, _ = database(
        roots,
        [dataclasses.replace(none, verification=lost), result(refs[0], refs[2], ModelKind.NONE)],
        tmp_path / "out",
    )
    ids = image_ids(path)
    inliers, config, f, _, h = geometry(path, ids[NAMES[0]], ids[NAMES[1]])
    assert (inliers.shape, config, f, h) == ((0, 2), 1, None, None)
    assert rows(path, "SELECT count(*) FROM matches") == [(2,)]
    assert rows(path, "SELECT count(*) FROM two_view_geometries") == [(1,)]


def test_both_directions_of_a_pair_are_one_in_colmap(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    first = result(refs[1], refs[0], seed=1)
    path, said = database(roots, [first, result(refs[0], refs[1], seed=2)], tmp_path / "out")
    assert "1 pair(s) matched in both directions" in said[0]
    ((data,),) = rows(path, "SELECT data FROM matches")
    np.testing.assert_array_equal(np.frombuffer(data, np.uint32).reshape(-1, 2)[:, 1], first.token_a)


def test_pycolmap_reads_it(roots, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    refs = [image(roots[1], name) for name in NAMES]
    found = refined(result(refs[1], refs[0], seed=3))
    path, _ = database(roots, [found, result(refs[0], refs[2], ModelKind.EPIPOLAR)], tmp_path / "out")
    opened = pycolmap.Database.open(path) if hasattr(pycolmap.Database, "open") else pycolmap.Database(path)
    ids = {entry.name: entry.image_id for entry in opened.read_all_images()}
    assert set(ids) == set(NAMES)
    assert opened.read_keypoints(ids[NAMES[1]]).shape == (CELLS, 2)
    one, two = ids[NAMES[0]], ids[NAMES[1]]
    np.testing.assert_array_equal(opened.read_matches(one, two)[:, 1], found.token_a)
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    true = np.linalg.inv(shift @ HOMOGRAPHY @ np.linalg.inv(shift))
    read = opened.read_two_view_geometry(one, two)
    np.testing.assert_allclose(read.H / read.H[2, 2], true / true[2, 2], rtol=1e-9)
    assert int(read.config) == 6
    assert len(read.inlier_matches) == found.verification.inlier_count
    cache = pycolmap.DatabaseCache.create(opened, pycolmap.DatabaseCacheOptions())
    assert cache.num_images() == 3
    assert cache.correspondence_graph.num_image_pairs() == 2
