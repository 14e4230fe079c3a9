"""The parts of refinement on made-up input, each against numbers worked out another way."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import texture

from engine.coordinates import project, token_centres_px
from engine.features import FeatureMap, Matches
from engine.refine.frame import find_overlap
from engine.refine.local_features import find_keypoints, keypoint_map
from engine.refine.matches import RAYLEIGH_MEDIAN, uncertainties
from engine.refine.photograph import Photograph
from engine.refine.softargmax import soft_matches
from engine.refine.start import starting_maps
from engine.refine.structure import Blocks
from engine.refine.temperature import SHARE, grid_temperature
from engine.refine.tiles import TILES_AT_MOST, tile_corners, tile_matches
from engine.views import canvas_size


def test_sampling_a_reduced_photograph_equals_averaging_its_pixels() -> None:
    pixels = texture(512, 640)
    half = cv2.resize(pixels, (80, 64), interpolation=cv2.INTER_AREA).astype(float)
    to_photograph = np.array([[8.0, 0, 3.5], [0, 8.0, 3.5], [0, 0, 1]])
    sampled = Photograph(pixels).sample(to_photograph, (80, 64)).astype(float)
    assert np.abs(sampled - half).mean() < 1.0


def test_sampling_a_part_equals_sampling_the_whole() -> None:
    pixels = texture(400, 500)
    angle = 0.3
    turned = np.array([[np.cos(angle), -np.sin(angle), 200], [np.sin(angle), np.cos(angle), 100], [0, 0, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    whole = cv2.warpPerspective(pixels, turned, (96, 80), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    sampled = Photograph(pixels).sample(turned, (96, 80))
    assert np.abs(sampled.astype(float) - whole).max() <= 1.0


def test_a_frame_beyond_the_photograph_is_sampled_in_the_end() -> None:
    """In a process of its own: a sampling that never returned would not heed anything else."""
    code = (
        "import numpy as np; from engine.refine.photograph import Photograph\n"
        "pixels = np.random.default_rng(0).integers(0, 255, (450, 600, 3), np.uint8)\n"
        "print(Photograph(pixels).sample(np.array([[1, 0.01, -500], [0.01, 1, 0], [0, 0, 1.0]]), (448, 448)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "(448, 448, 3)"


def field(points: np.ndarray) -> np.ndarray:
    """Descriptors [N, 24] that change smoothly with the place, so that the nearest place is the most similar."""
    rng = np.random.default_rng(4)
    waves = rng.normal(0, 0.035, (12, 2))
    phases = points @ waves.T
    values = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def feature_map(key: str, points_of_ground: np.ndarray, size: tuple[int, int], **view: object) -> FeatureMap:
    grid = (size[1] // 16, size[0] // 16)
    return FeatureMap(
        key=key,
        descriptors=field(points_of_ground).astype(np.float16),
        norms=np.ones(grid[0] * grid[1], np.float32),
        token_index=np.arange(grid[0] * grid[1], dtype=np.int32),
        global_descriptor=np.array([1.0], np.float32),
        grid=grid,
        image_size=(size[0] * 2, size[1] * 2),
        encoded_size=size,
    )


def test_soft_matches_find_a_shift_of_a_fraction_of_a_token() -> None:
    size, shift = (320, 256), np.array([5.0, -4.0])
    centres = token_centres_px(np.arange(20 * 16), (16, 20), size)
    a, b = feature_map("1.1", centres, size), feature_map("2.1", centres + shift, size)
    inner = np.flatnonzero(((centres > 24) & (centres < np.array(size) - 24)).all(axis=1))
    order = inner.astype(np.int32)
    matches = Matches(order, order, np.linspace(1, 0.9, len(inner)).astype(np.float32))
    found = soft_matches(a, b, matches)
    # The ground at a pixel of b is that pixel plus the shift, so a point of a lies at minus the shift in b, doubled.
    error = np.linalg.norm(found.b - found.a + 2 * shift, axis=1)
    centre_error = float(np.linalg.norm(2 * shift))
    assert np.median(error) < centre_error / 3
    assert (found.spread > 0).all()


def test_the_temperature_is_a_share_of_how_fast_similarity_falls() -> None:
    angle = 0.3 * np.arange(7)
    row = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    grid = np.repeat(row[None], 1, axis=0).astype(np.float32)
    assert grid_temperature(grid) == pytest.approx(SHARE * (1 - np.cos(0.3)), rel=1e-4)


def test_uncertainties_are_those_that_errors_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.5, 1.5, 20_000)
    error = np.linalg.norm(rng.normal(0, true[:, None], (20_000, 2)), axis=1)
    found = uncertainties(error, 7.0 * true)
    assert np.median(found / true) == pytest.approx(1.0, rel=0.03)
    flat = uncertainties(error, np.ones(20_000))
    assert flat[0] == pytest.approx(np.median(error) / RAYLEIGH_MEDIAN)


def test_the_starting_map_of_turned_and_scaled_views_is_the_true_one() -> None:
    rng = np.random.default_rng(2)
    size_a, encoded_a, encoded_b = (800, 600), (448, 336), (224, 168)
    angle = np.deg2rad(33.0)
    true = 1.9 * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1 / 1.9]])
    true[:2, 2] = (-150.0, -220.0)
    canvas = canvas_size(encoded_a, 30.0, 16)
    grid_a, grid_b = (canvas[1] // 16, canvas[0] // 16), (10, 14)
    a = FeatureMap(
        "1.1",
        np.zeros((grid_a[0] * grid_a[1], 2), np.float16),
        np.ones(grid_a[0] * grid_a[1], np.float32),
        np.arange(grid_a[0] * grid_a[1], dtype=np.int32),
        np.ones(1, np.float32),
        grid_a,
        size_a,
        encoded_a,
        30.0,
        canvas,
    )
    b = FeatureMap(
        "2.1",
        np.zeros((140, 2), np.float16),
        np.ones(140, np.float32),
        np.arange(140, dtype=np.int32),
        np.ones(1, np.float32),
        grid_b,
        size_a,
        encoded_b,
    )
    distance = np.linalg.norm(project(true, a.points_px)[:, None] - b.points_px[None], axis=2)
    index_a = np.flatnonzero(distance.min(axis=1) < 25)
    index_b = distance.argmin(axis=1)[index_a]
    wrong = rng.integers(0, 140, len(index_a) // 2)
    index_b[: len(wrong)] = wrong
    matches = Matches(index_a.astype(np.int32), index_b.astype(np.int32), np.ones(len(index_a), np.float32))
    first = starting_maps(a, b, matches, (1.0, 0.5), 0.75)[0]
    corners = np.array([[250.0, 250.0], [420.0, 250.0], [420.0, 400.0], [250.0, 400.0]])
    assert np.linalg.norm(project(first, corners) - project(true, corners), axis=1).max() < 30


@pytest.mark.parametrize("size", [(1500, 1500), (9000, 6000), (2000, 7000)])
def test_tiles_lie_in_the_overlap_and_are_few(size: tuple[int, int]) -> None:
    overlap = find_overlap(size, size, np.eye(3))
    assert overlap is not None
    corners = tile_corners(overlap, 448.0, 28.0)
    assert 1 <= len(corners) <= TILES_AT_MOST
    assert (corners >= overlap.low - 1e-6).all()
    assert (corners + 448.0 <= overlap.low + overlap.extent + 1e-6).all()
    assert len(np.unique(corners, axis=0)) == len(corners)


def test_tiles_that_b_does_not_show_are_left_out() -> None:
    a = b = Photograph(texture(400, 500))
    far = np.array([[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]])
    overlap = find_overlap((500, 400), (500, 400), np.eye(3))
    assert overlap is not None
    assert len(tile_matches(a, b, far, overlap, 1.0, Blocks(side=32, reach=8, step=32))) == 0


def test_tiles_match_at_full_resolution() -> None:
    rng = np.random.default_rng(1)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (1400, 1500, 3)).astype(np.float32), (0, 0), 2.0)
    pixels = np.clip(128 + 300 * fine, 0, 255).astype(np.uint8)
    true = np.array([[1.0, 0, 2.6], [0, 1.0, -1.7], [0, 0, 1]])
    other = cv2.warpPerspective(pixels, true, (1500, 1400), flags=cv2.INTER_CUBIC)
    a, b = Photograph(pixels), Photograph(other)
    overlap = find_overlap(a.size, b.size, np.eye(3))
    assert overlap is not None
    found = tile_matches(a, b, np.eye(3), overlap, 1.0, Blocks(48, 8, 60))
    error = np.linalg.norm(project(true, found.a) - found.b, axis=1)
    assert len(found) > 300
    assert np.median(error) < 0.15
    assert np.ptp(found.a, axis=0).min() > 1200


def test_local_features_propose_a_map_between_pictures_of_other_size_and_turn() -> None:
    rng = np.random.default_rng(6)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (900, 900, 3)).astype(np.float32), (0, 0), 3.0)
    a = np.clip(128 + 600 * fine, 0, 255).astype(np.uint8)
    angle, scale = np.deg2rad(70.0), 2.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    true = np.array([[cos, -sin, 500.0], [sin, cos, -800.0], [0, 0, 1]])
    b = cv2.warpPerspective(a, true, (700, 700), flags=cv2.INTER_CUBIC)
    found = keypoint_map(find_keypoints(a), find_keypoints(b))
    assert found is not None
    corners = project(np.linalg.inv(true), np.array([[100.0, 100.0], [600.0, 100.0], [600.0, 600.0], [100.0, 600.0]]))
    assert np.linalg.norm(project(found, corners) - project(true, corners), axis=1).max() < 3
    other = np.clip(128 + 600 * cv2.GaussianBlur(rng.normal(0, 1, (700, 700, 3)), (0, 0), 3.0), 0, 255)
    assert keypoint_map(find_keypoints(a), find_keypoints(other.astype(np.uint8))) is None
