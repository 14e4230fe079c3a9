import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from vis_samples import (
    ALL_PICTURES,
    ENCODED_A,
    ENCODED_B,
    GRID,
    SIZE_A,
    SIZE_B,
    TRUE_MAP,
    make_result,
    make_roots,
    pictures,
    save_photograph,
    vis,
    write_results,
)

from engine.cli_vis import VisOptions
from engine.coordinates import project
from engine.drawing import Strokes
from engine.errors import UsageError, WorkError
from engine.hooks import Estimate
from engine.photographs import Photographs
from engine.plugin_registry import Registry, load_registry
from engine.settings import Roots
from engine.store.result_json import read_result
from engine.vis import NewVerification, PictureMaker, picture_path, verify_anew
from plugins import BUILTINS


@pytest.fixture
def registry() -> Registry:
    return load_registry(BUILTINS, entry_points=False)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return make_roots(tmp_path)


@pytest.fixture
def results(roots: Roots) -> list[Path]:
    return write_results(roots)


def test_without_a_terminal_all_are_drawn_and_named(roots, registry, results):
    code, said = vis(VisOptions(), roots, registry)
    assert code == 0
    assert pictures(roots.pictures) == ALL_PICTURES
    for name in ALL_PICTURES:
        assert str(roots.pictures / name) in said
        picture = cv2.imdecode(np.fromfile(roots.pictures / name, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] == 2400
    assert "drew 3 picture(s)" in said


def test_root_out_and_single_files(roots, registry, results, tmp_path):
    options = VisOptions(root=str(results[0].parent), out=str(tmp_path / "그림"))
    assert vis(options, roots, registry)[0] == 0
    assert pictures(tmp_path / "그림") == {"vitt16_400_0001/vitt16_400.0001_200.0001.png"}
    assert vis(VisOptions(files=[str(results[2])], out=str(tmp_path / "one")), roots, registry)[0] == 0
    assert pictures(tmp_path / "one") == {"vitt16_400_0002/vitt16_400.0002_200.0002.png"}


def test_the_stored_verification_is_drawn_not_made_anew(roots, results):
    maker = PictureMaker(Photographs(roots.images), Registry(), Strokes())
    scene = maker.scene(read_result(results[0]))
    expected = make_result(Path("1_400_0001.jpg"), Path("1_200_0001.jpg"))
    np.testing.assert_array_equal(scene.inliers, expected.verification.inliers)
    np.testing.assert_allclose(scene.point_map, TRUE_MAP)
    assert scene.residuals_px[:45].max() < 1e-6
    assert "homography, cv2_usac_magsac, 8 px encoded" in scene.subtitle
    assert "again" not in scene.subtitle


def test_asked_verification_runs_in_encoded_pixels_and_is_said(roots, registry, results):
    seen = []

    def factory():
        def filter_function(points_a_px, points_b_px, options):
            seen.append((points_a_px, points_b_px, options))
            return Estimate(None, np.zeros(len(points_a_px), bool))

        return filter_function

    record = replace(registry.filter("affine"), factory=factory)
    spying = Registry(filters={**registry.filters, "affine": record})
    code, said = vis(VisOptions(ransac="affine", reproj_th=3.5, files=[str(results[0])]), roots, spying)
    assert code == 0
    assert "verifying again" in said
    assert "--ransac, --reproj-th" in said
    [(points_a, points_b, options)] = seen
    assert options.reproj_th == 3.5
    stored = read_result(results[0])
    for points, own, size, encoded in (
        (points_a, stored.points_a_px, SIZE_A, ENCODED_A),
        (points_b, stored.points_b_px, SIZE_B, ENCODED_B),
    ):
        scale = np.array(encoded) / size
        np.testing.assert_allclose(points, (own + 0.5) * scale - 0.5, atol=1e-9)


@pytest.mark.parametrize("name", ["homography", "affine"])
def test_verified_again_finds_the_true_map_in_original_pixels(roots, registry, results, name):
    found = verify_anew(read_result(results[0]), NewVerification(filter=name, options={"reproj_th": 2.0}), registry)
    assert found.filter == name
    assert found.options["reproj_th"] == 2.0
    assert found.inliers[:45].all()
    assert found.inliers[45:].sum() <= 2
    corners = np.array([[0.0, 0.0], [399.0, 0.0], [399.0, 299.0], [0.0, 299.0]])
    np.testing.assert_allclose(project(found.matrix, corners), project(TRUE_MAP, corners), atol=0.5)


def test_what_is_not_asked_stays_as_stored_where_it_suits_the_filter(roots, registry, results):
    document = json.loads(results[0].read_text())
    document["verification"]["options"].update(iters=777, reproj_th=5.0)
    document["verification"]["reproj_unit"] = "original"
    results[0].write_text(json.dumps(document))
    stored = read_result(results[0])
    same = verify_anew(stored, NewVerification(options={"confidence": 0.5}), registry)
    assert (same.filter, same.options["iters"], same.options["reproj_th"]) == ("homography", 777, 5.0)
    assert (same.options["confidence"], same.reproj_unit) == (0.5, "original")
    other = verify_anew(stored, NewVerification(filter="affine"), registry)
    assert (other.options["iters"], other.options["reproj_th"], other.reproj_unit) == (777, 5.0, "original")
    assert other.options["ransac_method"] == stored.verification.options["ransac_method"]
    similarity = verify_anew(stored, NewVerification(filter="similarity"), registry)
    assert similarity.options["reproj_th"] == 5.0
    assert similarity.options["ransac_method"] == registry.filter("similarity").options().ransac_method, (
        "OpenCV fits similarities with two methods only"
    )


def test_a_value_out_of_range_is_named_by_what_was_typed(registry, results):
    asked = NewVerification(options={"reproj_th": 0.0}, sources={"reproj_th": "--reproj-th"})
    with pytest.raises(
        UsageError, match=r"^--reproj-th 0 with the filter 'homography': the value must be 0\.01 to 10000"
    ):
        verify_anew(read_result(results[0]), asked, registry)


def test_ransac_off_draws_all_matches_unverified(roots, registry, results):
    maker = PictureMaker(Photographs(roots.images), registry, Strokes(), NewVerification(filter="off"))
    scene = maker.scene(read_result(results[0]))
    assert scene.inliers is None
    assert scene.point_map is None
    assert "verified again" in scene.subtitle


def test_nothing_to_draw_says_what_to_do(roots, registry, tmp_path):
    with pytest.raises(WorkError, match="Run 'engine match' first"):
        vis(VisOptions(), roots, registry)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkError, match=r"no result files .* --root"):
        vis(VisOptions(root=str(tmp_path / "empty")), roots, registry)
    with pytest.raises(WorkError, match=r"absent does not exist.* --root"):
        vis(VisOptions(root=str(tmp_path / "absent")), roots, registry)


def test_a_damaged_file_does_not_keep_the_others_from_being_drawn(roots, registry, results, capsys):
    results[1].write_text(results[1].read_text()[:500])
    code, said = vis(VisOptions(), roots, registry)
    assert code == 1
    assert len(pictures(roots.pictures)) == 2
    assert "drew 2 picture(s)" in said
    assert "1 could not be drawn" in said
    assert str(results[1]) in capsys.readouterr().err


def test_points_outside_their_photograph_are_refused(roots, registry, results, capsys):
    document = json.loads(results[0].read_text())
    document["points_px"]["b"][0] = [1e200, 5]
    results[0].write_text(json.dumps(document))
    assert vis(VisOptions(files=[str(results[0])]), roots, registry)[0] == 1
    assert "points of image b lie outside its 360 x 300 pixels" in capsys.readouterr().err
    assert not roots.pictures.exists()


def test_a_photograph_that_changed_its_size_is_refused(roots, registry, results, capsys):
    save_photograph(roots.images, "250912150549", 400, 1, (200, 150))
    assert vis(VisOptions(files=[str(results[0])]), roots, registry)[0] == 1
    said = capsys.readouterr().err
    assert "has 200 x 150 pixels, but had 400 x 300" in said


def test_an_unwritable_place_is_an_error_and_leaves_nothing(roots, registry, results, capsys):
    roots.pictures.parent.mkdir(parents=True, exist_ok=True)
    roots.pictures.write_text("a file where the folder should be")
    assert vis(VisOptions(files=[str(results[0])]), roots, registry)[0] == 1
    assert str(roots.pictures) in capsys.readouterr().err
    assert roots.pictures.is_file()


def test_a_failed_write_keeps_the_older_picture_and_no_partial_file(roots, registry, results, monkeypatch, capsys):
    picture = picture_path(results[0], roots.pictures)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"older")

    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert vis(VisOptions(files=[str(results[0])]), roots, registry)[0] == 1
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]
    assert picture.read_bytes() == b"older"
    assert "disk is full" in capsys.readouterr().err


def test_files_of_the_earlier_tool_are_drawn(roots, registry, results):
    n = GRID[0] * GRID[1]
    document = {
        "meta": {"img_root": "/opt/datasets", "image_size": 336},
        "image_a": "/opt/datasets/250912150549_400/250912150549_400_0001.jpg",
        "image_b": "/opt/datasets/250912150549_400/250912150549_400_0002.jpg",
        "weight": "vits16",
        "cosine": 0.8,
        "time_ms": {"forward_a": 10.0, "forward_b": 11.0, "total": 30.0},
        "advanced_settings": {"matching_mode": "mutual_knn_k1_unique"},
        "patch": {
            "n_a": n,
            "n_b": n,
            "n_selected_a": 100,
            "n_selected_b": 90,
            "grid_g_a": None,
            "grid_g_b": None,
            "idx_a": [0, 29, 300],
            "idx_b": [0, 29, 301],
            "similarities": [0.5, 0.75, 0.6],
        },
    }
    path = roots.matches / "vits16_400_0001" / "vits16_400.0001_400.0002.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    photographs = Photographs(roots.images)
    scene = PictureMaker(photographs, registry, Strokes()).scene(read_result(path, photographs.locate))
    assert scene.inliers is None
    assert scene.file_a == "250912150549_400_0001.jpg"
    np.testing.assert_allclose(scene.points_a_px[-1], [0.5 * 400 / 28 - 0.5, 0.5 * 300 / 21 - 0.5])
    assert vis(VisOptions(files=[str(path)]), roots, registry)[0] == 0
    assert pictures(roots.pictures) == {"vits16_400_0001/vits16_400.0001_400.0002.png"}
