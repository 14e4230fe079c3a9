"""Pictures: what lies where, what is averaged, and how light and season change them."""

import cv2
import numpy as np
import pytest
from conftest import texture

from engine.coordinates import project
from engine.evaluate.layout import Geometry, lay_out
from engine.evaluate.photometry import Photometry, change_season, develop
from engine.evaluate.sampling import samples_a_side, take_picture

SIDE = 1080


def dots(places: np.ndarray, sigma: float) -> np.ndarray:
    """Bright Gaussian dots on black, [1080, 1080, 3] uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE))
    for px, py in places:
        image += 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return np.repeat(image.round().astype(np.uint8)[..., None], 3, axis=2)


def centre_of_light(picture: np.ndarray, near: np.ndarray, radius: int) -> np.ndarray:
    x0, y0 = np.round(near).astype(int)
    part = picture[y0 - radius : y0 + radius + 1, x0 - radius : x0 + radius + 1, 0].astype(np.float64)
    y, x = np.mgrid[y0 - radius : y0 + radius + 1, x0 - radius : x0 + radius + 1]
    return np.array([(x * part).sum(), (y * part).sum()]) / part.sum()


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(overlap=0.6, offset_deg=20),
        Geometry(rotation_deg=37, overlap=0.7, offset_deg=200),
        Geometry(rotation_deg=180, overlap=0.8),
        Geometry(scale=3, overlap=0.9),
        Geometry(scale=1 / 3, overlap=0.9),
        Geometry(rotation_deg=-60, tilt_deg=25, tilt_towards_deg=130, overlap=0.7),
        Geometry(size_b=(640, 360), rotation_deg=15, overlap=0.7),
    ],
    ids=["moved", "turned", "upside down", "enlarged", "reduced", "tilted", "another aspect"],
)
def test_dots_are_found_where_the_stated_homography_says(geometry: Geometry) -> None:
    layout = lay_out(geometry, (SIDE, SIDE), (0.37, 0.61))
    places = project(layout.a_to_source, layout.points_a_px[4::9])
    source = dots(places, sigma=2.0)
    a = develop(take_picture(source, layout.a_to_source, geometry.size_a), Photometry(), np.random.default_rng(0))
    b = develop(take_picture(source, layout.b_to_source, geometry.size_b), Photometry(), np.random.default_rng(0))
    checked = 0
    for place in places:
        expected_a = project(np.linalg.inv(layout.a_to_source), place[None])[0]
        expected_b = project(np.linalg.inv(layout.b_to_source), place[None])[0]
        others = np.delete(places, np.flatnonzero((places == place).all(axis=1)), axis=0)
        spread = [int(np.ceil(12 / step)) + 3 for step in (layout.step_a, layout.step_b)]
        if np.linalg.norm(others - place, axis=1).min() < 45:
            continue
        if any(
            (at < r + 1).any() or (at > np.array(size) - r - 2).any()
            for at, r, size in zip((expected_a, expected_b), spread, (geometry.size_a, geometry.size_b), strict=True)
        ):
            continue
        at_a = centre_of_light(a, expected_a, spread[0])
        at_b = centre_of_light(b, expected_b, spread[1])
        assert np.linalg.norm(project(layout.a_to_b, at_a[None])[0] - at_b) < 0.3
        assert np.linalg.norm(at_a - expected_a) < 0.1
        checked += 1
    assert checked >= 2


def test_detail_finer_than_a_pixel_is_averaged_not_aliased() -> None:
    board = np.indices((400, 400)).sum(axis=0) % 2 * 255
    source = np.repeat(board.astype(np.uint8)[..., None], 3, axis=2)
    to_source = np.array([[3.7, 0.4, 10.0], [-0.4, 3.7, 40.0], [0, 0, 1]])
    picture = take_picture(source, to_source, (80, 80))
    assert abs(picture.mean() - 127.5) < 1
    assert picture.std() < 6


def test_a_whole_pixel_shift_at_the_sources_resolution_keeps_the_picture() -> None:
    source = cv2.GaussianBlur(texture(120, 120), (0, 0), 2.0)
    picture = take_picture(source, np.array([[1.0, 0, 7], [0, 1, 5], [0, 0, 1]]), (64, 64))
    # Two samples a pixel and axis are averaged: a mild blur, of a texture that is smooth.
    assert np.abs(picture - source[5:69, 7:71]).mean() < 1.5
    assert np.abs((picture - source[5:69, 7:71]).mean()) < 0.05


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    source, to_source = texture(300, 300), np.array([[2.0, 0.3, 40], [-0.3, 2.0, 60], [0.0002, 0, 1]])
    whole = take_picture(source, to_source, (90, 70))
    monkeypatch.setattr("engine.evaluate.sampling._BAND_SAMPLES", 90 * 25 * 7)
    np.testing.assert_allclose(take_picture(source, to_source, (90, 70)), whole, atol=0.5)


def test_the_coarser_the_picture_the_more_samples() -> None:
    assert samples_a_side(np.eye(3), (10, 10)) == 2
    assert samples_a_side(np.diag([3.0, 3.0, 1.0]), (10, 10)) == 6
    assert samples_a_side(np.diag([0.3, 0.3, 1.0]), (10, 10)) == 2


def test_a_picture_beyond_its_source_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond its source"):
        take_picture(texture(50, 50), np.array([[1.0, 0, 20], [0, 1, 0], [0, 0, 1]]), (40, 40))


def test_no_change_leaves_the_picture_as_it_is() -> None:
    picture = texture(60, 80).astype(np.float32)
    assert np.array_equal(develop(picture, Photometry(), np.random.default_rng(3)), picture.astype(np.uint8))


def test_a_stop_is_a_factor_of_two_in_light() -> None:
    picture = np.full((8, 8, 3), 80, np.float32)
    brighter = develop(picture, Photometry(stops=1.0), np.random.default_rng(0))
    assert (brighter[0, 0, 0] / 255) ** 2.2 / (80 / 255) ** 2.2 == pytest.approx(2.0, rel=0.02)
    assert develop(picture, Photometry(stops=9.0), np.random.default_rng(0)).max() == 255


def test_noise_has_the_stated_strength_and_blur_takes_detail_away() -> None:
    flat = np.full((200, 200, 3), 128, np.float32)
    noisy = develop(flat, Photometry(noise=10), np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(10, rel=0.03)
    sharp = texture(200, 200).astype(np.float32)
    blurred = develop(sharp, Photometry(blur_px=3), np.random.default_rng(0)).astype(float)
    assert np.abs(np.diff(blurred, axis=1)).mean() < 0.7 * np.abs(np.diff(sharp, axis=1)).mean()


def test_seasons_turn_leaves_to_straw() -> None:
    picture = np.full((100, 120, 3), (120, 110, 100), np.float32)
    picture[:, 60:] = (40, 90, 35)
    changed = change_season(picture, 1.0, np.random.default_rng(1))
    assert changed.shape == picture.shape
    before, after = picture[20:80, 85:110].mean(axis=(0, 1)), changed[20:80, 85:110].mean(axis=(0, 1))
    assert before[1] > before[0]
    assert (after[1] - after[0]) / after[1] < 0.3 * (before[1] - before[0]) / before[1]
    assert after.sum() > 1.5 * before.sum()
    assert np.array_equal(change_season(picture, 0.0, np.random.default_rng(1)), picture)
    half = change_season(picture, 0.5, np.random.default_rng(1))
    assert 0 < np.abs(half - picture).mean() < np.abs(changed - picture).mean()


def test_the_same_chance_makes_the_same_picture() -> None:
    picture, change = texture(64, 64).astype(np.float32), Photometry(0.5, 0.7, 1.0, 9.0)
    first, second = (develop(picture, change, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, develop(picture, change, np.random.default_rng(6)))
