"""The rendered scene: same plan at both dates, another look; light and shadow as physics has them."""

import numpy as np
import pytest

from engine.demo.camera import Look, develop, sample
from engine.demo.light import cast_shadows, lit
from engine.demo.noise import fractal_noise, smooth_noise
from engine.demo.plan import Use, draw_plan
from engine.demo.polygons import area_px2, cut_across
from engine.demo.scene import draw_scene
from engine.demo.season import AUTUMN, SUMMER, Season

SIZE = (500, 420)


@pytest.fixture(scope="module")
def both() -> tuple[np.ndarray, np.ndarray]:
    scene = draw_scene(SIZE, 3)
    return scene.render(SUMMER), scene.render(AUTUMN)


def test_pictures_have_the_size_range_and_contrast_of_photographs(both: tuple[np.ndarray, np.ndarray]) -> None:
    for picture in both:
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        assert picture.dtype == np.float32
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0
        assert 0.2 < picture.mean() < 0.7
        assert picture.std() > 0.08


def test_summer_is_greener_than_autumn(both: tuple[np.ndarray, np.ndarray]) -> None:
    greenness = [float((picture[..., 1] - picture[..., 0]).mean()) for picture in both]
    assert greenness[0] > greenness[1] + 0.03


def test_structure_stays_while_colours_change(both: tuple[np.ndarray, np.ndarray]) -> None:
    """Outlines correlate between the dates, and not with those of another scene."""
    other = draw_scene(SIZE, 4).render(AUTUMN)

    def outlines(picture: np.ndarray) -> np.ndarray:
        down, across = np.gradient(picture.mean(axis=2))
        return np.hypot(down, across).ravel()

    summer, autumn, elsewhere = outlines(both[0]), outlines(both[1]), outlines(other)
    assert np.corrcoef(summer, autumn)[0, 1] > 0.3
    assert abs(np.corrcoef(summer, elsewhere)[0, 1]) < 0.15


def test_rendering_is_repeatable(both: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(draw_scene(SIZE, 3).render(SUMMER), both[0])


@pytest.mark.parametrize("seed", range(6))
def test_every_part_of_a_full_scene_has_fields_and_homesteads(seed: int) -> None:
    plan = draw_plan((1600, 3750), seed)
    for frame in range(3):
        middles = [(parcel.outline.mean(axis=0), parcel.use) for parcel in plan.parcels]
        here = [use for (x, y), use in middles if 0 <= x < 1600 and 1250 * frame <= y < 1250 * (frame + 1)]
        assert here.count(Use.FIELD) >= 20
        assert here.count(Use.YARD) >= 8


@pytest.mark.parametrize("size", [(80, 60), (61, 333), (900, 200)])
def test_any_size_renders(size: tuple[int, int]) -> None:
    picture = draw_scene(size, 11).render(AUTUMN)
    assert picture.shape == (size[1], size[0], 3)
    assert np.isfinite(picture).all()


def test_a_cut_keeps_the_area() -> None:
    polygon = np.array([[0.0, 0.0], [90, 5], [100, 60], [10, 50]])
    cut = cut_across(polygon, np.random.default_rng(0))
    assert area_px2(cut.first) + area_px2(cut.second) == pytest.approx(area_px2(polygon))
    assert min(area_px2(cut.first), area_px2(cut.second)) > 0.2 * area_px2(polygon)


@pytest.mark.parametrize("season", [SUMMER, AUTUMN])
def test_a_shadow_falls_away_from_the_sun_and_is_as_long_as_the_sun_is_low(season: Season) -> None:
    y, x = np.mgrid[0:161, 0:161] - 80
    height = np.where(np.hypot(x, y) < 15, 20, 0).astype(np.float32)
    shadow = cast_shadows(height, season)
    azimuth = np.deg2rad(season.sun_azimuth_deg)
    away = -np.array([np.cos(azimuth), np.sin(azimuth)])
    steps = np.arange(17, 75)
    x, y = np.rint(80 + np.outer(away, steps)).astype(int)
    length = 20.0 / np.tan(np.deg2rad(season.sun_elevation_deg))
    lit_from = steps[shadow[y, x] < 0.5].min()
    assert lit_from == pytest.approx(15 + length, abs=2.0)
    towards_x, towards_y = np.rint(80 - np.outer(away, steps)).astype(int)
    assert shadow[towards_y, towards_x].max() < 0.05


def test_a_roof_slope_facing_the_sun_is_brighter() -> None:
    ramp = np.abs(np.arange(101, dtype=np.float32) - 50)[None, :].repeat(101, axis=0) * 0.5
    height = ramp.max() - ramp
    light = lit(np.full((101, 101, 3), 0.4, np.float32), height, SUMMER)
    left, right = light[50, 20:40].mean(), light[50, 60:80].mean()
    assert np.cos(np.deg2rad(SUMMER.sun_azimuth_deg)) < 0, "the summer sun stands to the left"
    assert left > 1.2 * right


def test_flat_sunlit_ground_keeps_about_its_reflectance() -> None:
    ground = np.full((40, 40, 3), 0.3, np.float32)
    np.testing.assert_allclose(lit(ground, np.zeros((40, 40), np.float32), SUMMER).mean(), 0.3, rtol=0.2)


@pytest.mark.parametrize("scale_px", [1.0, 3.0, 20.0])
def test_noise_has_about_unit_strength_and_the_width_asked_for(scale_px: float) -> None:
    field = smooth_noise((400, 400), scale_px, np.random.default_rng(1))
    assert abs(float(field.mean())) < 0.15
    assert 0.6 < float(field.std()) < 1.4
    near = np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]
    far = np.corrcoef(field[:, : -int(4 * scale_px)].ravel(), field[:, int(4 * scale_px) :].ravel())[0, 1]
    assert abs(far) < 0.2
    assert (near > 0.6) == (scale_px > 2)


def test_fractal_noise_adds_its_scales_up() -> None:
    total = fractal_noise((50, 60), {9.0: 0.5, 1.0: 2.0}, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    expected = 0.5 * smooth_noise((50, 60), 9.0, rng) + 2.0 * smooth_noise((50, 60), 1.0, rng)
    np.testing.assert_allclose(total, expected, atol=1e-5)


def test_sampling_without_a_change_of_view_keeps_a_smooth_picture() -> None:
    y, x = np.mgrid[0:80, 0:100].astype(np.float32)
    picture = np.stack([x / 100, y / 80, (x + y) / 180], axis=-1)
    same = sample(picture, np.eye(3), (100, 80))
    np.testing.assert_allclose(same[4:-4, 4:-4], picture[4:-4, 4:-4], atol=1e-3)


def test_sampling_at_half_size_averages() -> None:
    fine = np.zeros((64, 64, 3), np.float32)
    fine[:, ::2] = 1.0
    half = sample(fine, np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]]), (32, 32))
    np.testing.assert_allclose(half[4:-4, 4:-4], 0.5, atol=0.02)


def test_development_is_exposure_white_balance_and_haze() -> None:
    grey = np.full((20, 30, 3), 0.5, np.float32)
    look = Look(1.2, (1.1, 1.0, 0.9), 1.0, 0.25, (0.8, 0.8, 0.8), 0.0, 0.0, 0.0)
    expected = [0.75 * 0.5 * 1.2 * balance + 0.25 * 0.8 for balance in (1.1, 1.0, 0.9)]
    stored = develop(grey, look, np.random.default_rng(0))
    np.testing.assert_array_equal(stored, np.broadcast_to(np.rint(np.array(expected) * 255), stored.shape))
