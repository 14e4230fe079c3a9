"""`from engine import Matcher`: the same results as the command, shapes, bad input, and caching."""

import inspect
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import texture, write_photograph

import engine
from engine import Matcher, ModelKind, UsageError, WorkError
from engine.cli_match_options import MatchOptions
from engine.errors import GraphError, ImageReadError, KeyNotFoundError
from engine.library import FILES_KEPT
from engine.store.result_json import read_result


@pytest.fixture
def ground() -> np.ndarray:
    return texture(320, 480)


@pytest.fixture
def views(ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b shows what a shows two patches (32 px) further to the left."""
    return np.ascontiguousarray(ground[:, :384]), np.ascontiguousarray(ground[:, 32:416])


def small(graph: Path, **changes) -> Matcher:
    return Matcher(graph, **{"provider": "cpu", "image_size": 320, "threads": 1, **changes})


def test_arrays_are_matched_and_the_shift_is_found(tiny_graph, views):
    with small(tiny_graph) as matcher:
        found = matcher.match(*views)
        assert matcher.provider == "CPUExecutionProvider"
    count = len(found)
    assert count > 100
    assert found.points_a_px.shape == found.points_b_px.shape == (count, 2)
    assert found.points_a_px.dtype == found.points_b_px.dtype == np.float64
    assert (found.similarity.shape, found.similarity.dtype) == ((count,), np.float32)
    assert (found.inliers.shape, found.inliers.dtype) == ((count,), np.bool_)
    assert (np.diff(found.similarity) <= 0).all()
    assert found.kind is ModelKind.POINT_MAP
    np.testing.assert_allclose(
        found.points_a_px[found.inliers] - found.points_b_px[found.inliers], [[32, 0]] * found.inlier_count
    )
    corners = np.array([[0.0, 0.0], [383.0, 319.0]])
    np.testing.assert_allclose(found.map_points(corners), corners - [32, 0], atol=1e-3)
    assert found.time_ms["total"] > 0
    with pytest.raises(FrozenInstanceError):
        found.matrix = None


def test_a_pair_is_shown_in_a_line(tiny_graph, views):
    with small(tiny_graph) as matcher:
        found = matcher.match(*views)
    shown = repr(found)
    assert shown.startswith(f"<MatchedPair: {len(found)} matches, {found.inlier_count} inliers, homography")
    assert len(shown) < 120
    assert "\n" not in shown


def test_files_and_arrays_give_the_same(tiny_graph, views, tmp_path):
    paths = [write_photograph(tmp_path / f"{name}.png", pixels) for name, pixels in zip("ab", views, strict=True)]
    with small(tiny_graph) as matcher:
        from_arrays, from_files = matcher.match(*views), matcher.match(str(paths[0]), paths[1])
    for name in ("points_a_px", "points_b_px", "similarity", "inliers", "matrix"):
        np.testing.assert_array_equal(getattr(from_files, name), getattr(from_arrays, name))
    assert from_files.details.image_a.path == paths[0]


def test_it_finds_what_the_command_finds(tiny_graph, data_set, match, tmp_path):
    assert match("-a", "400.0001", "-b", "200.0002", "-i", "320", "--rotations", "4", "--filter", "affine").code == 0
    (written,) = (tmp_path / "exports").rglob("*.json")
    stored = read_result(written)
    with small(tiny_graph, rotations=4, filter="affine") as matcher:
        found = matcher.match(stored.image_a.path, stored.image_b.path)
        assert matcher.settings.digest() == stored.settings_digest
    np.testing.assert_array_equal(found.points_b_px, stored.points_b_px)
    np.testing.assert_array_equal(found.inliers, stored.verification.inliers)
    np.testing.assert_array_equal(found.matrix, stored.verification.matrix)
    assert found.verdict == stored.verdict


def test_defaults_are_those_of_the_command():
    given = {entry.name: entry.default for entry in fields(MatchOptions)}
    same = {
        "match_threshold": "match_th",
        "keypoint_threshold": "keypoint_th",
        "line_threshold": "line_th",
        **{name: name for name in ("provider", "precision", "image_size", "max_features", "matcher", "filter")},
        **{name: name for name in ("reproj_unit", "rotations", "refine", "decode", "min_inliers")},
    }
    parameters = inspect.signature(Matcher.__init__).parameters
    assert {name: parameters[name].default for name in same} == {name: given[other] for name, other in same.items()}
    assert (parameters["scales"].default, given["scales"]) == ((1.0,), "1")


def test_a_turned_photograph_is_found_by_its_rotation(tiny_graph, ground):
    a = np.ascontiguousarray(ground[:320, :320])
    b = np.ascontiguousarray(np.rot90(a))
    with small(tiny_graph, rotations=4) as matcher:
        found = matcher.match(a, b)
    assert found.rotation_deg == 90.0
    np.testing.assert_allclose(found.map_points([[0.0, 0.0], [319.0, 100.0]]), [[0.0, 319.0], [100.0, 0.0]], atol=0.1)


def test_refinement_works_in_memory(tiny_graph, ground):
    a, b = np.ascontiguousarray(ground[:320, :384]), np.ascontiguousarray(ground[:320, 37:421])
    with small(tiny_graph, refine="dense") as matcher:
        found = matcher.match(a, b)
    assert found.refinement is not None
    np.testing.assert_allclose(found.map_points([[100.0, 100.0]]), [[63.0, 100.0]], atol=1.0)


def test_a_feature_map_has_every_patch(tiny_graph, views):
    with small(tiny_graph) as matcher:
        features = matcher.embed(views[0])
    assert (features.grid, features.image_size) == ((20, 24), (384, 320))
    assert features.descriptors.shape == (480, 32)
    np.testing.assert_allclose(np.linalg.norm(features.descriptors.astype(np.float32), axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(features.points_px[:2], [[7.5, 7.5], [23.5, 7.5]])


def test_a_file_is_encoded_once_until_it_changes(tiny_graph, views, tmp_path):
    paths = [write_photograph(tmp_path / f"{name}.png", views[0]) for name in range(FILES_KEPT + 1)]
    with small(tiny_graph) as matcher:
        first = matcher.embed(paths[0])
        assert matcher.embed(paths[0]) is first
        write_photograph(paths[0], views[1])
        changed = matcher.embed(paths[0])
        assert changed is not first
        for path in paths[1:]:
            matcher.embed(path)
        assert matcher.embed(paths[0]) is not changed, "only a few photographs may stay in memory"


def test_without_a_model_or_a_point_map_points_cannot_be_mapped(tiny_graph, views):
    flat = np.full((64, 64, 3), 90, np.uint8)
    with small(tiny_graph) as matcher:
        found = matcher.match(views[0], flat)
    assert found.matrix is None
    with pytest.raises(WorkError, match="the filter 'homography' found none"):
        found.map_points([[1.0, 2.0]])
    with small(tiny_graph, filter="off") as matcher:
        found = matcher.match(*views)
    assert found.kind is ModelKind.NONE
    with pytest.raises(WorkError, match="the filter 'off'"):
        found.map_points([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 32), np.uint8), r"image b is an array [32, 32] of uint8: give [H, W, 3] uint8 RGB"),
        (np.zeros((32, 32, 3), np.float32), "of float32"),
        (np.zeros((3, 32, 32), np.uint8), "[3, 32, 32]"),
        (np.zeros((0, 32, 3), np.uint8), "[0, 32, 3]"),
        (None, "image b is a NoneType"),
        ([[1, 2, 3]], "image b is a list"),
    ],
)
def test_what_is_no_photograph_is_refused(tiny_graph, views, image, message):
    with small(tiny_graph) as matcher, pytest.raises(UsageError, match=re.escape(message)):
        matcher.match(views[0], image)


def test_bad_files_are_named(tiny_graph, views, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    with small(tiny_graph) as matcher:
        for name in ("missing.jpg", "text.jpg"):
            with pytest.raises(ImageReadError, match=name):
                matcher.match(views[0], tmp_path / name)
        with pytest.raises(ImageReadError, match="more than 65536"):
            matcher.match(views[0], np.zeros((16, 16 * 5000, 3), np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matcher": "mutual_nn"}, "Did you mean 'mutual_knn'"),
        ({"filter": "homografy"}, "Did you mean 'homography'"),
        ({"filter_options": {"reproj": 3}}, "there is no option 'reproj'"),
        ({"matcher_options": {"k": "many"}}, "matcher mutual_knn: k=many"),
        ({"rotations": 5}, "rotations 5: choose one of 1, 4, 8, 12"),
        ({"scales": "big"}, "scales 'big'"),
        ({"refine": "fine"}, "refine='fine': choose one of none, "),
        ({"decode": "slow"}, "decode='slow': choose one of fast, exact"),
        ({"min_inliers": -1}, "min_inliers=-1"),
        ({"reproj_unit": "metres"}, "reproj_unit='metres'"),
        ({"image_size": 2}, "image_size=2 is outside 16 to 16384"),
        ({"match_threshold": float("nan")}, "match_threshold=nan is outside -1 to 1"),
        ({"provider": "gpus"}, "provider gpus"),
    ],
)
def test_wrong_values_are_refused_before_the_graph_is_opened(tiny_graph, options, message):
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        small(tiny_graph, **options)
    assert not re.search(r"(^|\s)--?[a-z]", str(raised.value)), "options of the command line mean nothing in Python"


def test_missing_graphs_are_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path))
    with pytest.raises(GraphError, match=r"engine export --weights vitl16 --precision fp32"):
        Matcher("vitl16")
    with pytest.raises((UsageError, KeyNotFoundError), match="vitl17"):
        Matcher("vitl17")
    with pytest.raises(GraphError, match=r"nothing\.onnx does not exist"):
        Matcher("nothing.onnx")


def test_a_closed_matcher_says_so(tiny_graph, views):
    matcher = small(tiny_graph)
    matcher.close()
    matcher.close()
    with pytest.raises(UsageError, match="closed"):
        matcher.match(*views)
    with pytest.raises(UsageError, match="closed"):
        matcher.embed(views[0])


def test_the_public_names_are_there_and_no_others():
    assert {"Matcher", "MatchedPair"} <= set(engine.__all__) <= set(dir(engine))
    assert engine.MatchedPair.__name__ == "MatchedPair"
    with pytest.raises(AttributeError, match="no attribute 'Macher'"):
        _ = engine.Macher


def test_the_bundled_backbone_matches_a_shift_of_rendered_ground():
    """The default of `Matcher()`: a real network, without any setting."""
    ground = cv2.GaussianBlur(texture(400, 520, seed=3), (0, 0), 1.5)
    a, b = np.ascontiguousarray(ground[:, :400]), np.ascontiguousarray(ground[:, 64:464])
    with Matcher(provider="cpu", threads=1) as matcher:
        assert matcher.settings.weights == "vitt16"
        found = matcher.match(a, b)
    np.testing.assert_allclose(found.map_points([[200.0, 200.0]]), [[136.0, 200.0]], atol=8.0)
