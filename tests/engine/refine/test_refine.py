import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import main
from engine.coordinates import project
from engine.hooks import Estimate
from engine.photograph_encoder import PhotographEncoder
from engine.plugin_registry import load_registry
from engine.refine.alignment import alignment
from engine.refine.attempts import attempts
from engine.refine.dense import dense_matches, similarity_volume
from engine.refine.frame import overlap_frame
from engine.refine.photograph import Photograph
from engine.refine.steps import Estimate as Estimator
from engine.refine.steps import Start, refine
from engine.refine.structure import Blocks, structure_matches
from engine.results import Refinement
from engine.runtime import open_graph
from engine.store.matches_h5 import MatchStore
from plugins import BUILTINS

TRUE = np.array([[0.9, -0.22, 150.0], [0.2, 0.95, -40.0], [3e-5, -2e-5, 1.0]])

SHIFTED = np.array([[1.0, 0.001, 48.4], [0.0, 1.0, 32.3], [0.0, 0.0, 1.0]])
"""A map near a shift of whole tokens, so that the tiny graph's tokens match."""


def pair_of_photographs() -> tuple[np.ndarray, np.ndarray]:
    """Two photographs 700 x 600 with the map TRUE from a to b, of other light and with noise."""
    rng = np.random.default_rng(3)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (1200, 1400, 3)).astype(np.float32), (0, 0), 1.5) * 120
    ground = np.clip(texture(1200, 1400, 5).astype(np.float32) + fine, 0, 255)
    shift = np.array([[1.0, 0, 300], [0, 1, 250], [0, 0, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    a = cv2.warpPerspective(ground, shift, (700, 600), flags=flags)
    b = cv2.warpPerspective(ground, shift @ np.linalg.inv(TRUE), (700, 600), flags=flags)
    b = np.clip(b * 0.7 + 40 + rng.normal(0, 3, b.shape), 0, 255)
    return a.clip(0, 255).astype(np.uint8), b.astype(np.uint8)


def corner_error_px(matrix: np.ndarray) -> float:
    points = np.array([[100.0, 100.0], [500.0, 100.0], [500.0, 500.0], [100.0, 500.0], [300.0, 300.0]])
    return float(np.linalg.norm(project(matrix, points) - project(TRUE, points), axis=1).max())


def wrong_by(px: float) -> np.ndarray:
    angle = px / 400
    turn = np.array([[np.cos(angle), -np.sin(angle), px], [np.sin(angle), np.cos(angle), -0.6 * px], [0, 0, 1]])
    return np.asarray(turn @ TRUE)


def estimate(a: np.ndarray, b: np.ndarray, threshold_px: float) -> tuple[np.ndarray | None, np.ndarray]:
    record = load_registry(BUILTINS, entry_points=False).filter("homography")
    if len(a) < record.min_matches:
        return None, np.zeros(len(a), bool)
    found: Estimate = record.factory()(a, b, record.options(reproj_th=threshold_px))
    return found.matrix, found.inliers


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> PhotographEncoder:
    folder = tmp_path_factory.mktemp("refine")
    runtime = open_graph(write_tiny_graph(folder / "vits16-fp32.onnx"), "cpu")
    return PhotographEncoder(runtime, "0" * 64, 320, folder, None)


def test_both_pictures_of_a_frame_show_the_same_place() -> None:
    a, b = pair_of_photographs()
    frame = overlap_frame(Photograph(a), Photograph(b), TRUE, 320, 16)
    assert frame is not None
    height, width = frame.a.shape[:2]
    assert height % 16 == width % 16 == 0
    inside = frame.seen(np.array([[width / 2, height / 2]]))
    assert inside.all()
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    seen = frame.seen(np.column_stack([x.ravel(), y.ravel()]).astype(float)).reshape(height, width)
    one, two = frame.a[seen].astype(float).ravel(), frame.b[seen].astype(float).ravel()
    assert np.corrcoef(one, two)[0, 1] > 0.97
    assert np.allclose(frame.model(np.eye(3)), TRUE)


def test_no_frame_without_overlap() -> None:
    a, b = pair_of_photographs()
    away = np.array([[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]])
    assert overlap_frame(Photograph(a), Photograph(b), away, 320, 16) is None
    assert alignment(Photograph(a), Photograph(b), away) is None


def test_the_volume_holds_cosines_of_displaced_tokens() -> None:
    rng = np.random.default_rng(0)
    grids = rng.normal(0, 1, (2, 5, 6, 8)).astype(np.float32)
    grids /= np.linalg.norm(grids, axis=-1, keepdims=True)
    seen = np.ones((5, 6), bool)
    seen[4, 5] = False
    volume = similarity_volume(grids[0], grids[1], seen, 2)
    for down in range(-2, 3):
        for right in range(-2, 3):
            for row in range(5):
                for col in range(6):
                    there = row + down, col + right
                    known = 0 <= there[0] < 5 and 0 <= there[1] < 6 and seen[row, col] and seen[there]
                    expected = grids[0, row, col] @ grids[1][there] if known else -2.0
                    assert abs(volume[down + 2, right + 2, row, col] - expected) < 1e-6


def test_dense_matches_of_a_picture_with_itself_stay_in_place(encoder: PhotographEncoder) -> None:
    a, _ = pair_of_photographs()
    frame = overlap_frame(Photograph(a), Photograph(a), np.eye(3), 320, 16)
    assert frame is not None
    found = dense_matches(frame, encoder.tokens, 16, 3)
    assert len(found) > 200
    assert np.abs(found.a - found.b).max() < 8.0
    assert np.median(np.abs(found.a - found.b)) < 1.0


def test_structure_matches_lie_within_a_fraction_of_a_pixel_of_the_truth() -> None:
    a, b = pair_of_photographs()
    frame = overlap_frame(Photograph(a), Photograph(b), wrong_by(4), 480, 16)
    assert frame is not None
    found = structure_matches(frame, Blocks(48, 12, 24))
    assert len(found) > 150
    error = np.linalg.norm(project(TRUE, project(frame.to_a, found.a)) - project(frame.to_b, found.b), axis=1)
    assert np.median(error) < 0.3
    assert (error < 2.0).mean() > 0.9
    assert np.array_equal(found.quality, np.sort(found.quality)[::-1])


def refined(
    a: np.ndarray, b: np.ndarray, matrix: np.ndarray, estimator: Estimator, encoder: PhotographEncoder
) -> tuple[np.ndarray, Refinement]:
    """Refines the filter's map."""
    steps = attempts(320, 16)
    found, report = refine(a, b, [Start("", matrix)], estimator, encoder.tokens, steps, 16, verified=matrix)
    assert found is not None
    return found, report


@pytest.mark.parametrize("off_px", [3.0, 12.0])
def test_refinement_brings_a_wrong_model_below_a_third_of_a_pixel(encoder: PhotographEncoder, off_px: float) -> None:
    a, b = pair_of_photographs()
    matrix, report = refined(a, b, wrong_by(off_px), estimate, encoder)
    assert corner_error_px(wrong_by(off_px)) > off_px
    assert corner_error_px(matrix) < 0.34
    assert report.steps[-1].uncertainty_px is not None
    assert report.steps[-1].uncertainty_px < 1.0
    accepted = [step.alignment for step in report.steps if step.accepted]
    assert accepted == sorted(accepted, key=lambda value: value or 0.0) or max(accepted) - accepted[-1] < 0.01
    error = np.linalg.norm(project(TRUE, report.points_a_px) - report.points_b_px, axis=1)
    assert np.median(error) < 0.6


def test_a_good_model_is_never_made_worse(encoder: PhotographEncoder) -> None:
    a, b = pair_of_photographs()

    def misleading(a_px: np.ndarray, b_px: np.ndarray, threshold_px: float) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[1.0, 0, 9.0], [0, 1, 7.0], [0, 0, 1]]), np.ones(len(a_px), bool)

    matrix, report = refined(a, b, TRUE, misleading, encoder)
    assert np.array_equal(matrix, TRUE)
    assert report.steps
    assert not any(step.accepted for step in report.steps)
    assert len(report.points_a_px) == 0


FAR = np.array([[1.0, 0, 180.0], [0, 1, -150.0], [0, 0, 1]])
"""A map that sends the overlap somewhere else."""


def test_the_first_start_that_structure_confirms_is_refined(encoder: PhotographEncoder) -> None:
    a, b = pair_of_photographs()
    asked = []

    def starts() -> Iterator[Start]:
        for start in (Start("", FAR), Start("keypoints", wrong_by(12.0)), Start("more", TRUE)):
            asked.append(start.name)
            yield start

    matrix, report = refine(a, b, starts(), estimate, encoder.tokens, attempts(320, 16), 16, verified=FAR)
    assert matrix is not None
    assert corner_error_px(matrix) < 0.34
    assert asked == ["", "keypoints"], "what is right needs no further start"
    taken = {step.name.partition("_from_")[2] for step in report.steps if step.accepted}
    assert "keypoints" in taken
    assert report.alignment_after is not None
    assert report.alignment_after > (report.alignment_before or 0.0)


@pytest.mark.parametrize("verified", [None, TRUE])
def test_starts_that_structure_does_not_confirm_change_nothing(
    encoder: PhotographEncoder, verified: np.ndarray | None
) -> None:
    a, b = pair_of_photographs()
    starts = [Start("keypoints", FAR)]
    matrix, report = refine(a, b, starts, estimate, encoder.tokens, attempts(320, 16), 16, verified=verified)
    assert matrix is verified
    assert [step.name for step in report.steps if step.name.startswith("structure_480")] == []
    assert not any(step.accepted for step in report.steps)
    assert len(report.points_a_px) == 0


@pytest.mark.parametrize("names", [("", "keypoints"), ("patches_0", "keypoints"), ("patches_0", "")])
def test_a_start_on_which_few_blocks_agree_does_not_keep_a_better_one_from_being_tried(
    encoder: PhotographEncoder, names: tuple[str, str]
) -> None:
    """Chance can bring more than a third of the blocks to agree on a wrong map."""
    a, b = pair_of_photographs()
    judged = []

    def by_chance(a_px: np.ndarray, b_px: np.ndarray, threshold_px: float) -> tuple[np.ndarray | None, np.ndarray]:
        matrix, inliers = estimate(a_px, b_px, threshold_px)
        judged.append(len(a_px))
        if len(judged) <= 2:  # the dense and the structure step of the first start
            return np.eye(3), np.arange(len(a_px)) < 0.4 * len(a_px)
        return matrix, inliers

    right = Start(names[1], wrong_by(50.0))
    upside_down = np.array([[-1.0, 0, 700], [0, -1, 600], [0, 0, 1]])
    verified = right.matrix if right.name == "" else upside_down
    starts = [Start(names[0], upside_down), right]
    matrix, report = refine(a, b, starts, by_chance, encoder.tokens, attempts(320, 16), 16, verified=verified)
    assert matrix is not None
    assert corner_error_px(matrix) < 0.34
    ending = f"_from_{right.name}" if right.name else "px"
    assert any(step.accepted and step.name.endswith(ending) for step in report.steps)


def test_alignment_is_best_at_the_truth() -> None:
    a, b = pair_of_photographs()
    at_truth = alignment(Photograph(a), Photograph(b), TRUE)
    assert at_truth is not None
    for px in (2.0, 5.0, 20.0):
        off = alignment(Photograph(a), Photograph(b), wrong_by(px))
        assert off is not None
        assert off < at_truth - 0.02


def test_report_survives_json() -> None:
    record = Refinement((), 0.25, np.array([[1.25, 2.5]]), np.array([[3.0, 4.0]]), np.array([0.125]))
    again = Refinement.from_json(json.loads(json.dumps(record.as_json())))
    assert Refinement.from_json({"alignment_before": None, "steps": [], "points_px": {"a": [], "b": []}}).steps == ()
    assert again.as_json() == record.as_json()
    assert again.points_a_px.shape == (1, 2)


def test_match_refines_and_stores_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = pair_of_photographs()
    write_photograph(tmp_path / "images/A_400/A_400_0001.png", a)
    near = cv2.warpPerspective(a, SHIFTED, (700, 600))
    write_photograph(tmp_path / "images/B_200/B_200_0001.png", near)
    monkeypatch.setenv("IMG_ROOT", str(tmp_path / "images"))
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))
    write_tiny_graph(tmp_path / "exports/dinov3_graphs/vits16-fp32.onnx")
    command = ["match", "--exts", "png", "-a", "400", "-b", "200", "-i", "600"]
    assert main([*command, "--refine", "dense"]) == 0
    (path,) = (tmp_path / "exports/pair_match").rglob("*0001.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [step["accepted"] for step in found["refinement"]["steps"]].count(True) >= 1
    points = np.array([[50.0, 50.0], [600.0, 50.0], [600.0, 500.0], [50.0, 500.0]])
    error = np.linalg.norm(
        project(np.array(found["verification"]["matrix"]), points) - project(SHIFTED, points), axis=1
    )
    assert error.max() < 0.5
    (shard,) = (tmp_path / "exports/pair_match").rglob("matches-*.h5")
    (stored,) = MatchStore(shard.parent).results()
    assert stored.refinement is not None
    assert stored.refinement.as_json() == found["refinement"]
    assert main([*command, "--tag", "plain"]) == 0
    plain = json.loads(next((tmp_path / "exports/pair_match-plain").rglob("*0001.json")).read_text(encoding="utf-8"))
    assert plain["refinement"] is None
