"""Footprints, their overlap, points in it, and the laying out of pairs: against areas and maps known in closed form."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.coordinates import project
from engine.evaluate.layout import Geometry, lay_out
from engine.evaluate.overlap import area, footprint, intersection, shared_fraction, spread_points

SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
SOURCE = (1080, 1080)


def moved(x: float, y: float) -> np.ndarray:
    return SQUARE + np.array([x, y])


def turned(polygon: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = polygon.mean(axis=0)
    return (polygon - middle) @ turn.T + middle


def test_a_footprint_includes_the_border_pixels() -> None:
    np.testing.assert_allclose(footprint(np.eye(3), (4, 2)), [[-0.5, -0.5], [3.5, -0.5], [3.5, 1.5], [-0.5, 1.5]])


@pytest.mark.parametrize(
    ("second", "share"),
    [
        (SQUARE, 1.0),
        (SQUARE[::-1], 1.0),
        (moved(0.3, 0.0), 0.7),
        (moved(0.5, 0.5), 0.25),
        (moved(2.0, 0.0), 0.0),
        (SQUARE * 0.5 + 0.2, 1.0),
        (turned(SQUARE, 45), 2 * (np.sqrt(2) - 1)),
    ],
    ids=["same", "other way round", "moved", "corner", "apart", "inside", "turned by 45 degrees"],
)
def test_shared_fraction_of_squares(second: np.ndarray, share: float) -> None:
    assert shared_fraction(SQUARE, second) == pytest.approx(share, abs=1e-12)
    assert shared_fraction(second, SQUARE) == pytest.approx(share, abs=1e-12)


def test_an_empty_intersection_has_no_area() -> None:
    assert area(intersection(SQUARE, SQUARE + 5)) == 0.0
    with pytest.raises(ValueError, match="no ground"):
        spread_points(np.zeros((0, 2)))


def test_points_are_spread_evenly_over_a_square() -> None:
    points = spread_points(SQUARE)
    assert points.shape == (81, 2)
    assert len(np.unique(points.round(9), axis=0)) == 81
    assert ((points > 0) & (points < 1)).all()
    np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=1e-3)
    # A ninth of the points in each ninth of the area: at most two more or fewer, as borders cut across strips.
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=3, range=[[0, 1], [0, 1]])[0]
    assert np.abs(counts - 9).max() <= 3


@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.25, 4),
    tilt=st.floats(0, 30),
    overlap=st.floats(0.2, 0.8),
    offset=st.floats(0, 360),
)
@settings(max_examples=40, deadline=None)
def test_any_layout_is_exact_and_inside_its_source(
    degrees: float, scale: float, tilt: float, overlap: float, offset: float
) -> None:
    geometry = Geometry(
        rotation_deg=degrees, scale=scale, tilt_deg=tilt, tilt_towards_deg=77, overlap=overlap, offset_deg=offset
    )
    found = lay_out(geometry, SOURCE, (0.3, 0.9))
    quad_a, quad_b = footprint(found.a_to_source, (512, 512)), footprint(found.b_to_source, (512, 512))
    for quad in (quad_a, quad_b):
        assert quad.min() >= 2.9
        assert quad.max() <= 1080 - 1 - 2.9
    assert found.overlap == pytest.approx(shared_fraction(quad_a, quad_b), abs=1e-6)
    assert found.overlap <= overlap + 1e-6
    in_source = project(found.a_to_source, found.points_a_px)
    in_b = project(found.a_to_b, found.points_a_px)
    np.testing.assert_allclose(project(found.b_to_source, in_b), in_source, atol=1e-6)
    assert (in_b >= -0.5 - 1e-6).all()
    assert (in_b <= 511.5 + 1e-6).all()
    assert (found.points_a_px >= -0.5 - 1e-6).all()
    assert (found.points_a_px <= 511.5 + 1e-6).all()


@pytest.mark.parametrize("wanted", [0.2, 0.3, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("degrees", [-10.0, 0.0, 10.0])
def test_overlap_is_exactly_as_wanted_where_it_can_be_had(wanted: float, degrees: float) -> None:
    for offset, scale in itertools.product((0, 33, 200), (1.3, 1 / 1.3)):
        geometry = Geometry(rotation_deg=degrees, scale=scale, overlap=wanted, offset_deg=offset)
        assert lay_out(geometry, SOURCE, (0.5, 0.5)).overlap == pytest.approx(wanted, abs=1e-6)


def test_overlap_is_as_large_as_can_be_where_it_cannot() -> None:
    found = lay_out(Geometry(rotation_deg=45, overlap=1.0), SOURCE, (0.5, 0.5))
    assert found.overlap == pytest.approx(2 * (np.sqrt(2) - 1), abs=1e-6)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 2.0), (-120, 0.4), (180, 1)])
def test_without_tilt_the_truth_is_the_similarity_asked_for(degrees: float, scale: float) -> None:
    found = lay_out(Geometry(rotation_deg=degrees, scale=scale, overlap=0.5), SOURCE, (0, 0)).a_to_b
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(found[:2, :2], turn, atol=1e-9)
    np.testing.assert_allclose(found[2], [0, 0, 1], atol=1e-12)


def test_a_tilted_camera_sees_what_a_pinhole_camera_sees() -> None:
    """Rays of the tilted camera, met with the ground plane one by one, must be where the homography says."""
    tilt, towards = 25.0, 40.0
    geometry = Geometry(tilt_deg=tilt, tilt_towards_deg=towards, overlap=0.9)
    found = lay_out(geometry, SOURCE, (0.5, 0.5))
    focal = 256 / np.tan(np.deg2rad(25))
    t, d = np.deg2rad(tilt), np.deg2rad(towards)
    lean = np.array([np.cos(d), np.sin(d), 0.0])
    across = np.array([-np.sin(d), np.cos(d), 0.0])
    looking = np.sin(t) * lean + np.cos(t) * np.array([0, 0, 1.0])
    along = np.cos(t) * lean - np.sin(t) * np.array([0, 0, 1.0])
    ground = []
    pixels = np.array([[0.0, 0], [511, 0], [511, 511], [0, 511], [255.5, 255.5], [100, 300]])
    for x, y in pixels - 255.5:
        ray = focal * looking + (x * lean[0] + y * lean[1]) * along + (x * across[0] + y * across[1]) * across
        ground.append(ray[:2] / ray[2])
    seen = project(found.b_to_source, pixels)
    # The same plane up to a scale and a shift: fit both, then nothing may be left.
    base = np.array(ground) - ground[4]
    target = seen - seen[4]
    scale = (base * target).sum() / (base * base).sum()
    assert scale > 0
    np.testing.assert_allclose(scale * base, target, atol=1e-6)


def test_the_finer_picture_has_the_sources_own_resolution_where_there_is_room() -> None:
    large = (6000, 6000)
    enlarged = lay_out(Geometry(scale=2.0, overlap=0.5), large, (0.5, 0.5))
    assert (enlarged.step_a, enlarged.step_b) == (2.0, 1.0)
    reduced = lay_out(Geometry(scale=0.25, overlap=0.5), large, (0.5, 0.5))
    assert (reduced.step_a, reduced.step_b) == (1.0, 4.0)
    assert lay_out(Geometry(scale=4.0, overlap=0.5), SOURCE, (0.5, 0.5)).step_b < 0.6
