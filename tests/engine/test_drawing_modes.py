"""Overlay, checkerboard, heat map and components: geometry to the pixel, colours against independent references."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import texture

from engine.coordinates import project
from engine.drawing import MODES, PairScene, Strokes, TokenScene, draw_pair
from engine.drawing.layout import FOOTER, HEADER, WIDTH, Panel, fitted, place, place_one
from engine.drawing.palette import SCALE
from engine.drawing.token_colours import (
    on_photograph,
    principal_axes,
    principal_colours,
    similarity_to,
    spread_over,
    token_at,
)
from engine.drawing.warping import b_on_a, blended, checkered
from engine.errors import WorkError
from engine.features import FeatureMap
from engine.views import canvas_size, canvas_to_encoded, turn

SHIFT = np.array([[1.0, 0.0, -40.0], [0.0, 1.0, -24.0], [0.0, 0.0, 1.0]])
GRID, SIZE = (6, 8), (800, 600)


def features(tokens: np.ndarray, grid=GRID, size=SIZE, norms=None, **changes) -> FeatureMap:
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    encoded = (grid[1] * 16, grid[0] * 16)
    norms = np.linspace(1, 2, len(tokens)) if norms is None else norms
    return FeatureMap(
        "k",
        unit.astype(np.float16),
        norms.astype(np.float32),
        np.arange(len(tokens), dtype=np.int32),
        unit[0].astype(np.float32),
        grid,
        size,
        **{"encoded_size": encoded, **changes},
    )


@pytest.fixture
def scene() -> PairScene:
    ground = texture(700, 900, seed=2)
    points = np.array([[120.0, 90.0], [700.0, 500.0]])
    return PairScene(
        image_a=np.ascontiguousarray(ground[:600, :800]),
        image_b=np.ascontiguousarray(ground[24:624, 40:840]),
        key_a="400.0001",
        key_b="200.0001",
        file_a="a.jpg",
        file_b="b.jpg",
        subtitle="vitt16",
        points_a_px=points,
        points_b_px=project(SHIFT, points),
        similarity=np.array([0.9, 0.8]),
        inliers=np.array([True, True]),
        point_map=SHIFT,
    )


@pytest.fixture
def tokens() -> TokenScene:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(48, 12))
    return TokenScene(features(values), features(values[::-1]), 0.0, (120.0, 90.0))


def panel_of(size, width=400) -> Panel:
    return Panel(0, 0, width, round(width * size[1] / size[0]), size)


@pytest.mark.parametrize("factor", [1.0, 0.25, 3.0])
def test_b_lies_on_a_where_the_geometry_puts_it(scene, factor):
    """b at another size: warped into a's panel it must look like a itself."""
    size_b = (round(800 * factor), round(600 * factor))
    image_b = cv2.resize(scene.image_b, size_b, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    scale = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1.0]])
    panel = panel_of((800, 600))
    warped = b_on_a(image_b, scale @ SHIFT, panel)
    inner = cv2.erode((warped.inside > 0.999).astype(np.uint8), np.ones((9, 9))) > 0
    image_a = cv2.GaussianBlur(fitted(scene.image_a, panel), (0, 0), 4)  # at a quarter of the size, detail is lost
    blurred = cv2.GaussianBlur(warped.pixels, (0, 0), 4).astype(int)
    inner = cv2.erode(inner.astype(np.uint8), np.ones((25, 25))) > 0
    assert np.abs(blurred - image_a)[inner].mean() < 1.0
    assert np.abs(np.roll(blurred, 1, axis=1) - image_a)[inner].mean() > 1.2, "a pixel further it would not fit"
    covered = warped.inside > 0.5
    ys, xs = np.nonzero(covered)
    # b begins 40 px right and 24 px below the corner of a, which is drawn at half its size.
    assert abs(xs.min() - 20) <= 1
    assert abs(ys.min() - 12) <= 1
    assert covered[ys.min() :, xs.min() :].all()


def test_beyond_the_horizon_nothing_of_b_is_shown(scene):
    tilted = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 1 / 500.0, 1.0]])
    away = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, -1 / 450.0, 1.0]])
    panel = panel_of((800, 600))
    assert b_on_a(scene.image_b, tilted, panel).inside.max() == pytest.approx(1.0)
    inside = b_on_a(scene.image_b, away, panel).inside
    assert inside[-panel.height // 4 + 2 :].max() == 0.0, "below row 450 of a everything lies behind the camera"
    assert inside[: panel.height // 4].max() > 0.99


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.diag([1.0, 0.0, 1.0]), np.full((3, 3), np.nan)])
def test_a_geometry_that_flattens_is_refused(scene, matrix):
    with pytest.raises(WorkError, match="flattens"):
        b_on_a(scene.image_b, matrix, panel_of((800, 600)))


def test_blending_is_half_and_half_inside_b_and_a_alone_outside():
    a, b = np.full((40, 60, 3), 40, np.uint8), np.full((40, 60, 3), 200, np.uint8)
    warped = b_on_a(b, np.array([[1.0, 0, -30], [0, 1, 0], [0, 0, 1]]), Panel(0, 0, 60, 40, (60, 40)))
    mixed = blended(a, warped)
    assert (mixed[:, :29] == 40).all()
    np.testing.assert_allclose(mixed[:, 32:], 120, atol=1)


def test_fields_alternate_and_begin_with_a():
    a, b = np.full((40, 60, 3), 40, np.uint8), np.full((40, 60, 3), 200, np.uint8)
    fields = checkered(a, b_on_a(b, np.eye(3), Panel(0, 0, 60, 40, (60, 40))), 10)[..., 0]
    rows, cols = np.indices((40, 60)) // 10
    np.testing.assert_array_equal(fields[1:-1, 1:-1], np.where((rows + cols) % 2, 200, 40)[1:-1, 1:-1])


def test_the_axes_are_those_of_an_exact_decomposition():
    rng = np.random.default_rng(0)
    scales = np.array([9.0, 6.0, 4.0, *np.full(37, 1.0)])
    values = (rng.normal(size=(500, 40)) * scales) @ np.linalg.qr(rng.normal(size=(40, 40)))[0]
    values = (values - values.mean(axis=0)).astype(np.float32)
    exact = np.linalg.svd(values.astype(np.float64), full_matrices=False)[2][:3].T
    found = principal_axes(values)
    np.testing.assert_allclose(np.abs((found * exact).sum(axis=0)), 1.0, atol=1e-4)
    assert (found[np.abs(found).argmax(axis=0), range(3)] > 0).all()
    np.testing.assert_array_equal(principal_axes(values), found)
    np.testing.assert_allclose(principal_axes(-values), found, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_tokens_have_fewer_components(count):
    values = np.random.default_rng(1).normal(size=(count, 5)).astype(np.float32)
    assert np.isfinite(principal_axes(values - values.mean(axis=0))).all()


def test_equal_tokens_are_equally_coloured_in_both_and_order_changes_nothing():
    rng = np.random.default_rng(3)
    kinds = rng.normal(size=(4, 10))
    of_a, of_b = rng.integers(0, 4, 48), rng.integers(0, 4, 48)
    a, b = features(kinds[of_a]), features(kinds[of_b])
    (colour_a, _), (colour_b, _) = principal_colours((a, b), 0.0)
    between = np.abs(colour_a.reshape(-1, 1, 3).astype(int) - colour_b.reshape(1, -1, 3)).sum(axis=2)
    same = of_a[:, None] == of_b[None]
    assert between[same].max() <= 3
    assert between[~same].min() > 60
    (other_b, _), (other_a, _) = principal_colours((b, a), 0.0)
    np.testing.assert_allclose(other_a.astype(int), colour_a, atol=2)
    np.testing.assert_allclose(other_b.astype(int), colour_b, atol=2)


def test_tokens_left_out_of_matching_have_no_say_and_are_marked():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(48, 10))
    norms = np.full(48, 5.0)
    norms[7] = 0.1
    odd = values.copy()
    odd[7] *= -1
    found = [principal_colours((features(tokens, norms=norms),), 0.5)[0] for tokens in (values, odd)]
    for _, counted in found:
        assert np.flatnonzero(~counted.ravel()).tolist() == [7]
    kept = np.arange(48) != 7
    np.testing.assert_array_equal(found[0][0].reshape(-1, 3)[kept], found[1][0].reshape(-1, 3)[kept])


@pytest.mark.parametrize(
    ("point", "token"), [((0, 0), 0), ((-0.5, -0.5), 0), ((799, 599), 47), ((99.4, 0), 0), ((99.6, 100), 9)]
)
def test_the_token_of_a_point_is_that_of_its_patch(tokens, point, token):
    assert token_at(tokens.a, point) == token


def test_the_token_of_a_point_in_a_turned_map_is_the_nearest():
    grid, canvas = (8, 6), (96, 128)
    turned = features(np.ones((48, 2)), grid, SIZE, encoded_size=(128, 96), rotation_deg=90.0, canvas_size=canvas)
    for token in (0, 5, 17, 47):
        x, y = turned.points_px[token]
        assert token_at(turned, (x + 30, y - 30)) == token


def test_similarity_is_the_cosine_and_what_lies_beside_a_turned_photograph_is_known():
    rng = np.random.default_rng(6)
    a = features(rng.normal(size=(48, 12)))
    encoded = (128, 96)
    canvas = canvas_size(encoded, 30.0, 16)
    grid = (canvas[1] // 16, canvas[0] // 16)
    values = rng.normal(size=(grid[0] * grid[1], 12))
    b = features(values, grid, SIZE, encoded_size=encoded, rotation_deg=30.0, canvas_size=canvas)
    found = similarity_to(a, 5, b)
    x, y = b.points_encoded_px.T
    outside = (x < -0.5) | (y < -0.5) | (x > 127.5) | (y > 95.5)
    np.testing.assert_array_equal(on_photograph(b).ravel(), ~outside)
    assert on_photograph(a).all()
    assert principal_colours((a, b), 0.0)[1][1].all(), "they are not said to be left out for their norm"
    assert outside.any()
    exact = values @ a.descriptors[5].astype(float) / np.linalg.norm(values, axis=1)
    np.testing.assert_allclose(found.ravel(), exact, atol=2e-3)


@pytest.mark.parametrize("rotation", [0.0, 90.0, 30.0])
def test_tokens_are_spread_to_where_their_patches_are(rotation):
    """A picture is turned as the encoder does, reduced to one value per patch, and must come back upright."""
    encoded, panel = (128, 96), Panel(300, 200, 640, 480, (1280, 960))
    y, x = np.mgrid[:96, :128]
    waves = np.stack([np.sin(x / 45), np.cos(y / 40), np.sin((x + y) / 60)], axis=2)
    picture = np.round(128 + 110 * waves).astype(np.uint8)
    canvas_px = turn(picture, rotation, 16)
    canvas = (canvas_px.shape[1], canvas_px.shape[0])
    grid = (canvas[1] // 16, canvas[0] // 16)
    small = cv2.resize(canvas_px, (grid[1], grid[0]), interpolation=cv2.INTER_AREA)
    turned = {"rotation_deg": rotation, "canvas_size": canvas} if rotation else {}
    view = features(np.ones((grid[0] * grid[1], 3)), grid, (1280, 960), encoded_size=encoded, **turned)
    spread = spread_over(small, view, panel, smooth=True)
    expected = cv2.resize(picture, (640, 480), interpolation=cv2.INTER_LINEAR)
    inner = (slice(60, -60), slice(60, -60))
    off = np.abs(spread[inner].astype(int) - expected[inner]).mean()
    shifted = np.abs(np.roll(spread, 40, axis=1)[inner].astype(int) - expected[inner]).mean()
    assert off < 3
    assert shifted > 2.5 * off
    if not rotation:
        fields = spread_over(small, view, panel)
        np.testing.assert_array_equal(fields, np.kron(small, np.ones((80, 80, 1), np.uint8)))
    else:
        assert not math.isclose(canvas_to_encoded(encoded, canvas, rotation)[0, 0], 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_alone_is_one_picture_without_a_title(scene, tokens, mode):
    picture = draw_pair(scene, Strokes(), (mode,), tokens)
    height = place_one((800, 600))[0] if mode in ("overlay", "checkerboard") else place((800, 600), (800, 600)).height
    assert picture.shape == (height, WIDTH, 3)
    assert picture.dtype == np.uint8
    assert picture[HEADER:-FOOTER].std() > 10


def test_several_modes_stand_below_each_other_and_overlays_share_a_row(scene, tokens):
    row = place((800, 600), (800, 600)).height - HEADER
    both = draw_pair(scene, Strokes(), ("overlay", "checkerboard"), tokens)
    assert both.shape[0] == HEADER + row, "one row needs no title"
    three = draw_pair(scene, Strokes(), ("lines", "overlay", "checkerboard", "pca"), tokens)
    title = (three.shape[0] - HEADER - 3 * row) / 3
    assert title == 72
    alone = draw_pair(scene, Strokes())
    np.testing.assert_array_equal(three[HEADER + 72 : HEADER + 72 + row], alone[HEADER:])
    np.testing.assert_array_equal(three[:HEADER], alone[:HEADER])


def test_the_hottest_place_is_the_most_similar_patch(scene, tokens):
    """Token 9 of a is token 38 of b, as b's are a's in reverse."""
    picture = draw_pair(
        replace(scene, point_map=None), Strokes(), ("heatmap",), replace(tokens, point_px=(150.0, 150.0))
    )
    panel = place((800, 600), (800, 600)).panel_b
    row, col = divmod(47 - 9, 8)
    patch = panel.width / 8
    y, x = round(panel.top + (row + 0.5) * patch), round(panel.left + (col + 0.5) * patch)
    assert (picture[y - 26 : y + 27, x - 30 : x + 31] > 240).all(axis=2).sum() > 100, "a white ring around its middle"
    inside = picture[y + 40 : y + 60, x + 40 : x + 60].reshape(-1, 3).mean(axis=0)
    elsewhere = picture[panel.top + 5 : panel.top + 100, panel.left + 5 : panel.left + 100].reshape(-1, 3).mean(axis=0)
    distance = np.abs(inside - SCALE[255]).sum()
    assert distance < np.abs(elsewhere - SCALE[255]).sum() - 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point_map": None}, "geometry maps points to lines"),
        ({"point_map": None, "inliers": None}, "this pair was not verified"),
        ({"point_map": None, "model_found": False}, "no geometry was found"),
    ],
)
@pytest.mark.parametrize("mode", ["overlay", "checkerboard"])
def test_without_a_point_map_the_reason_is_said(scene, changes, message, mode):
    with pytest.raises(WorkError, match=message) as caught:
        draw_pair(replace(scene, **changes), Strokes(), ("lines", mode))
    assert f"--mode {mode}" in str(caught.value)
    assert "--ransac homography" in str(caught.value)


def test_tokens_and_a_point_are_asked_for(scene, tokens):
    with pytest.raises(WorkError, match="needs the feature maps"):
        draw_pair(scene, Strokes(), ("pca",))
    with pytest.raises(WorkError, match="add --point X,Y"):
        draw_pair(scene, Strokes(), ("heatmap",), replace(tokens, point_px=None))
