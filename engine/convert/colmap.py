"""A COLMAP database (`database.db`): cameras, images, keypoints, matches and verified two-view geometries.

Facts of COLMAP's format (doc/database.rst and src/colmap/scene/database of COLMAP 3.x) that differ from this program:

- a pixel's centre is at (0.5, 0.5): keypoints and matrices are moved by half a pixel;
- pair_id = 2147483647 * image_id1 + image_id2 with image_id1 < image_id2; rows and matrices are turned to that order;
- `x2 = H x1` and `x2^T F x1 = 0`; matrices are row-major float64, keypoints float32, matches uint32.

Descriptors are left out: COLMAP's are 128 bytes of SIFT.
"""

import sqlite3
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engine.convert.source import Source, StoredPair
from engine.convert.target import sqlite_aside
from engine.hooks import ModelKind
from engine.results import ImageRef, Verification

DATABASE = "database.db"
FILES = (DATABASE,)

CAMERAS = ("folder", "image", "single")
"""Which images share a camera: those of one folder and size, none, or all of one size."""

MAX_IMAGES = 2147483647
SIMPLE_RADIAL = 2
FOCAL_FACTOR = 1.2
"""COLMAP's own guess of an unknown focal length: 1.2 times the longer side."""

DEGENERATE, UNCALIBRATED, PLANAR_OR_PANORAMIC = 1, 3, 6
"""COLMAP's `TwoViewGeometry::ConfigurationType`."""

_TO_COLMAP = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
_FROM_COLMAP = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])

_SCHEMA = f"""
CREATE TABLE cameras (
    camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (
    image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE, camera_id INTEGER NOT NULL,
    prior_qw REAL, prior_qx REAL, prior_qy REAL, prior_qz REAL, prior_tx REAL, prior_ty REAL, prior_tz REAL,
    CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < {MAX_IMAGES}),
    FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE UNIQUE INDEX index_name ON images(name);
CREATE TABLE keypoints (
    image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (
    image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (
    pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (
    pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    config INTEGER NOT NULL, F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
"""


def convert_to_colmap(source: Source, out: Path, cameras: str) -> list[str]:
    """Writes the database.

    Args:
        cameras: one of `CAMERAS`.

    Returns:
        Lines about what the format could not hold.

    Raises:
        WorkError: a shard is damaged, or the file cannot be written.
    """
    ids = {name: row + 1 for row, name in enumerate(source.images)}
    both_ways = 0
    with sqlite_aside(out / DATABASE) as database:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            database.execute(statement)
        _write_images(database, source, ids, cameras)
        written: set[int] = set()
        for pair in source.pairs():
            pair_id = pair_id_of(ids[pair.name_a], ids[pair.name_b])
            if pair_id in written:
                both_ways += 1
                continue
            written.add(pair_id)
            _write_pair(database, pair, pair_id, swap=ids[pair.name_a] > ids[pair.name_b])
    return (
        [f"{both_ways} pair(s) matched in both directions: the direction stored first was taken"] if both_ways else []
    )


def pair_id_of(image_id_1: int, image_id_2: int) -> int:
    """COLMAP's number of a pair, whatever the order."""
    return MAX_IMAGES * min(image_id_1, image_id_2) + max(image_id_1, image_id_2)


def _write_images(database: sqlite3.Connection, source: Source, ids: dict[str, int], cameras: str) -> None:
    camera_ids: dict[tuple[str, tuple[int, int]], int] = {}
    for name, image in source.images.items():
        shared = {"folder": str(PurePosixPath(name).parent), "image": name, "single": ""}[cameras]
        camera_id = camera_ids.setdefault((shared, image.size), len(camera_ids) + 1)
        if camera_id == len(camera_ids):
            database.execute("INSERT OR IGNORE INTO cameras VALUES (?, ?, ?, ?, ?, 0)", _camera(camera_id, image))
        database.execute(
            "INSERT INTO images (image_id, name, camera_id) VALUES (?, ?, ?)", (ids[name], name, camera_id)
        )
        points = (source.keypoints_px(name) + 0.5).astype("<f4")
        database.execute("INSERT INTO keypoints VALUES (?, ?, ?, ?)", (ids[name], *points.shape, points.tobytes()))


def _camera(camera_id: int, image: ImageRef) -> tuple[int, int, int, int, bytes]:
    width, height = image.size
    params = np.array([FOCAL_FACTOR * max(width, height), width / 2, height / 2, 0.0], "<f8")
    return camera_id, SIMPLE_RADIAL, width, height, params.tobytes()


def _write_pair(database: sqlite3.Connection, pair: StoredPair, pair_id: int, *, swap: bool) -> None:
    columns = (pair.keypoint_b, pair.keypoint_a) if swap else (pair.keypoint_a, pair.keypoint_b)
    matches = np.stack(columns, axis=1).astype("<u4")
    database.execute("INSERT INTO matches VALUES (?, ?, ?, ?)", (pair_id, *matches.shape, matches.tobytes()))
    found = pair.result.verification
    if found.kind is ModelKind.NONE:
        return  # Nothing was verified: COLMAP's own geometric verification can still do it.
    inliers = matches[found.inliers] if found.matrix is not None else matches[:0]
    config, matrix = _geometry(found, swap=swap)
    blob = None if matrix is None else np.ascontiguousarray(matrix, "<f8").tobytes()
    fundamental, homography = (blob, None) if config == UNCALIBRATED else (None, blob)
    row = (pair_id, *inliers.shape, inliers.tobytes(), config, fundamental, homography)
    database.execute("INSERT INTO two_view_geometries VALUES (?, ?, ?, ?, ?, ?, NULL, ?, NULL, NULL)", row)


def _geometry(found: Verification, *, swap: bool) -> tuple[int, NDArray[np.float64] | None]:
    if found.matrix is None:
        return DEGENERATE, None
    if found.kind is ModelKind.EPIPOLAR:
        # b^T F a = 0 with b = T b', a = T a' (T: from COLMAP's pixels to ours) gives b'^T (T^T F T) a' = 0.
        matrix = _FROM_COLMAP.T @ found.matrix @ _FROM_COLMAP
        return UNCALIBRATED, matrix.T if swap else matrix
    matrix = _TO_COLMAP @ found.matrix @ _FROM_COLMAP
    return PLANAR_OR_PANORAMIC, np.linalg.inv(matrix) if swap else matrix
