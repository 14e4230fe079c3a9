import unicodedata
from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.coordinates import project
from engine.drawing import PairScene, Strokes, draw_pair
from engine.drawing.captions import header_numbers
from engine.drawing.frames import projected_frame
from engine.drawing.layout import FOOTER, GAP, HEADER, MARGIN, TALLEST_PHOTOGRAPH, WIDTH, place
from engine.drawing.palette import HALO, OUTLIER, SCALE, scale_colours
from engine.drawing.text import put_text, shorten, text_width

GREY = 90
OPAQUE = Strokes(alpha=255, points=False)


def make_scene(size_a=(800, 600), size_b=(500, 700), points_a=((100.0, 80.0),), points_b=((400.0, 500.0),), **changes):
    count = len(points_a)
    values = {
        "image_a": np.full((size_a[1], size_a[0], 3), GREY, np.uint8),
        "image_b": np.full((size_b[1], size_b[0], 3), GREY, np.uint8),
        "key_a": "400.0001",
        "key_b": "200.0001",
        "file_a": "a.jpg",
        "file_b": "b.jpg",
        "subtitle": "vitt16",
        "points_a_px": np.array(points_a, np.float64).reshape(-1, 2),
        "points_b_px": np.array(points_b, np.float64).reshape(-1, 2),
        "similarity": np.linspace(0.9, 0.5, count),
        "inliers": np.ones(count, bool),
    }
    return PairScene(**{**values, **changes})


def drawn_mask(picture: np.ndarray, scene: PairScene, strokes: Strokes = OPAQUE) -> np.ndarray:
    """Where the picture differs from one without matches; within the band of photographs."""
    layout = place(scene.image_a.shape[1::-1], scene.image_b.shape[1::-1])
    nothing = draw_pair(scene, replace(strokes, max_lines=0, points=False))
    difference = np.abs(picture.astype(int) - nothing.astype(int)).max(axis=2)
    difference[:HEADER] = 0
    difference[layout.height - FOOTER :] = 0
    return difference > 20


def on_picture(scene: PairScene, side: str) -> np.ndarray:
    layout = place(scene.image_a.shape[1::-1], scene.image_b.shape[1::-1])
    panel = layout.panel_a if side == "a" else layout.panel_b
    own = scene.points_a_px if side == "a" else scene.points_b_px
    scale_x, scale_y = panel.width / panel.image_size[0], panel.height / panel.image_size[1]
    return (own + 0.5) * [scale_x, scale_y] - 0.5 + [panel.left, panel.top]


@pytest.mark.parametrize(
    ("size_a", "size_b"),
    [
        ((1080, 1080), (1079, 1080)),
        ((4000, 3000), (6000, 4000)),
        ((500, 400), (4000, 3000)),
        ((300, 4000), (200, 4000)),
        ((20000, 10), (10, 20000)),
        ((1, 1), (1, 1)),
    ],
)
def test_photographs_stand_side_by_side_at_one_height_within_the_picture(size_a, size_b):
    layout = place(size_a, size_b)
    a, b = layout.panel_a, layout.panel_b
    assert a.height == b.height <= TALLEST_PHOTOGRAPH
    assert a.top == b.top == HEADER
    assert a.bottom + FOOTER == layout.height
    assert a.left >= MARGIN
    assert b.left - a.right == GAP
    assert b.right <= WIDTH - MARGIN
    assert min(a.width, a.height, b.width) >= 1
    for panel in (a, b):
        assert abs(panel.width - panel.height * panel.image_size[0] / panel.image_size[1]) <= 1 or panel.width in (
            1,
            WIDTH - 2 * MARGIN - GAP - 1,
        )


@pytest.mark.parametrize("size", [(300, 200), (4000, 3000)])
def test_a_mark_in_the_photograph_stays_where_the_panel_says(size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    left, top, side = size[0] * 2 // 3, size[1] // 4, size[1] // 40
    image[top : top + side, left : left + side] = 255
    scene = make_scene(size, (640, 480), (), (), image_a=image)
    panel = place(size, (640, 480)).panel_a
    view = draw_pair(scene, OPAQUE)[panel.top : panel.bottom, panel.left : panel.right, 0].astype(float)
    rows, cols = np.mgrid[: panel.height, : panel.width]
    found = np.array([(cols * view).sum(), (rows * view).sum()]) / view.sum() + [panel.left, panel.top]
    centre = np.array([[left + (side - 1) / 2, top + (side - 1) / 2]])
    np.testing.assert_allclose(found, project(panel.matrix, centre)[0], atol=0.1)


@pytest.mark.parametrize("size_a", [(500, 400), (800, 600), (4000, 3000)])
def test_a_line_ends_at_its_points_within_two_pixels(size_a):
    corner = np.array(size_a) * [[0.13, 0.2]]
    scene = make_scene(size_a, (640, 480), corner, ((600.0, 400.0),))
    ys, xs = np.nonzero(drawn_mask(draw_pair(scene, OPAQUE), scene))
    first, last = xs.argmin(), xs.argmax()
    half_width = OPAQUE.linewidth / 2 + 1
    start, end = on_picture(scene, "a")[0], on_picture(scene, "b")[0]
    assert np.hypot(*(start - [xs[first], ys[first]])) <= half_width + 2
    assert np.hypot(*(end - [xs[last], ys[last]])) <= half_width + 2
    along = (end - start) / np.hypot(*(end - start))
    across = np.abs((xs - start[0]) * along[1] - (ys - start[1]) * along[0])
    assert across.max() <= half_width + 1


def test_marks_are_centred_on_the_points():
    scene = make_scene(points_a=((100.25, 80.75),), points_b=((400.5, 500.0),))
    strokes = Strokes(max_lines=0, points=True, point_radius=8)
    mask = drawn_mask(draw_pair(scene, strokes), scene, strokes)
    ys, xs = np.nonzero(mask)
    on_left = xs < place((800, 600), (500, 700)).panel_a.right
    for side, chosen in (("a", on_left), ("b", ~on_left)):
        np.testing.assert_allclose([xs[chosen].mean(), ys[chosen].mean()], on_picture(scene, side)[0], atol=0.3)
        assert abs(np.sqrt(chosen.sum() / np.pi) - 9.5) < 0.8


@pytest.mark.parametrize("linewidth", [1, 3, 7])
def test_the_line_is_as_wide_as_asked(linewidth):
    scene = make_scene((600, 600), (600, 600), ((50.0, 300.0),), ((550.0, 300.0),))
    picture = draw_pair(scene, replace(OPAQUE, linewidth=linewidth))
    column = picture[HEADER : HEADER + 1100, 700].astype(int)
    coloured = np.abs(column - SCALE[0].astype(int)).max(axis=1) < 40
    assert abs(int(coloured.sum()) - linewidth) <= 1


def test_opacity_is_exact_where_lines_are_few():
    scene = make_scene((600, 600), (600, 600), ((50.0, 300.0),), ((550.0, 300.0),))
    picture = draw_pair(scene, Strokes(alpha=180, linewidth=9, points=False))
    row = round(on_picture(scene, "a")[0, 1])
    expected = SCALE[0] * (180 / 255) + GREY * (75 / 255)
    np.testing.assert_allclose(picture[row, 700], expected, atol=1)


def test_alpha_zero_leaves_the_photographs_alone():
    scene = make_scene()
    assert not drawn_mask(draw_pair(scene, Strokes(alpha=0, points=False)), scene).any()


def test_many_lines_fade_between_the_photographs_only():
    few, many = (Strokes().opacity_along(WIDTH, 1200.0, lines) for lines in (80, 900))
    np.testing.assert_allclose(few, 180 / 255, atol=1e-6)
    assert many[1200] == pytest.approx(0.35 * 180 / 255, abs=1e-6)
    assert many[0] == many[-1] == pytest.approx(180 / 255, abs=1e-6)
    assert (np.diff(many[:1200]) <= 1e-7).all()


def test_good_and_bad_differ_in_colour_and_good_lies_on_top():
    scene = make_scene(
        (600, 600),
        (600, 600),
        ((100.0, 100.0), (100.0, 500.0)),
        ((500.0, 500.0), (500.0, 100.0)),
        similarity=np.array([0.5, 0.9]),
        inliers=np.array([True, False]),
    )
    picture = draw_pair(scene, replace(OPAQUE, linewidth=5))
    (start_good, start_bad), (end_good, end_bad) = on_picture(scene, "a"), on_picture(scene, "b")
    crossing = np.rint((start_good + end_good) / 2).astype(int)
    near_end = start_good + 0.1 * (end_good - start_good)
    good = picture[round(near_end[1]), round(near_end[0])].astype(int)
    near_end = start_bad + 0.1 * (end_bad - start_bad)
    bad = picture[round(near_end[1]), round(near_end[0])].astype(int)
    np.testing.assert_allclose(good, SCALE[0], atol=3)
    assert bad[0] > bad[1] + 40
    assert good[0] < good[2]
    np.testing.assert_allclose(picture[crossing[1], crossing[0]], SCALE[0], atol=3)


def test_the_scale_never_reads_like_an_outlier_and_brightens_steadily():
    lightness = cv2.cvtColor(SCALE[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] - lightness[0] > 100
    distance = np.abs(SCALE.astype(int) - np.array(OUTLIER)).sum(axis=1)
    assert distance.min() > 120
    np.testing.assert_array_equal(scale_colours(np.array([0.2, 0.4, 9.0]), 0.2, 0.4), SCALE[[0, 255, 255]])


def test_max_lines_keeps_inliers_before_better_outliers():
    scene = make_scene(
        points_a=((100.0, 80.0), (100.0, 500.0)),
        points_b=((400.0, 80.0), (400.0, 600.0)),
        similarity=np.array([0.9, 0.4]),
        inliers=np.array([False, True]),
    )
    mask = drawn_mask(draw_pair(scene, replace(OPAQUE, max_lines=1)), scene)
    row_bad, row_good = (round(y) for y in on_picture(scene, "a")[:, 1])
    assert not mask[row_bad - 5 : row_bad + 5, :300].any()
    assert mask[row_good - 5 : row_good + 5, :300].any()


@pytest.mark.parametrize("none", [{"max_lines": 0}, {"linewidth": 0}])
def test_no_lines_at_all(none):
    scene = make_scene()
    assert not drawn_mask(draw_pair(scene, replace(OPAQUE, **none)), scene).any()
    with_points = draw_pair(scene, Strokes(**none))
    assert drawn_mask(with_points, scene).any()


def test_automatic_width_and_radius_shrink_with_the_number_of_lines():
    automatic = Strokes(linewidth=-1)
    widths = [automatic.width_for(lines) for lines in (5, 100, 900)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1] >= 1
    assert Strokes(linewidth=6).width_for(900) == 6
    assert Strokes(point_radius=11).radius_for(3) == 11


def test_frame_of_a_matches_opencv_on_b():
    matrix = np.array([[0.9, -0.3, 120.0], [0.25, 1.1, -40.0], [1e-4, -2e-4, 1.0]])
    starts, ends = projected_frame(matrix, (400, 300))
    corners = np.array([[[-0.5, -0.5], [399.5, -0.5], [399.5, 299.5], [-0.5, 299.5]]])
    expected = cv2.perspectiveTransform(corners, matrix)[0]
    np.testing.assert_allclose(starts[::64], expected, atol=1e-9)
    np.testing.assert_allclose(ends[:-1], starts[1:], atol=1e-12)
    np.testing.assert_allclose(ends[-1], starts[0], atol=1e-12)


def test_frame_beyond_the_horizon_is_left_out():
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1 / 300, 0.0, 1.0]])
    starts, ends = projected_frame(matrix, (400, 300))
    assert 0 < len(starts) < 256
    back = project(np.linalg.inv(matrix), np.concatenate([starts, ends]))
    assert (back[:, 0] < 300).all()


def test_the_frame_is_drawn_on_b_and_never_outside_it():
    scene = make_scene((600, 600), (600, 600), (), ())
    layout = place((600, 600), (600, 600))
    shift = np.array([[1.0, 0.0, 300.0], [0.0, 1.0, 200.0], [0.0, 0.0, 1.0]])
    plain, framed = draw_pair(scene, OPAQUE), draw_pair(replace(scene, point_map=shift), OPAQUE)
    changed = np.abs(plain.astype(int) - framed.astype(int)).max(axis=2) > 20
    inside = changed[HEADER : layout.height - FOOTER, layout.panel_b.left :]
    columns = np.nonzero(inside.any(axis=0))[0] + layout.panel_b.left
    expected = layout.panel_b.left + 300 * layout.panel_b.width / 600 - 0.5
    assert abs(columns.min() - expected) <= 5
    assert columns.max() < layout.panel_b.right
    np.testing.assert_allclose(framed[900, round(expected)], 255, atol=8)


def test_a_wild_model_does_not_stop_the_picture():
    for matrix in (np.zeros((3, 3)), np.full((3, 3), 1e9), np.diag([1e12, 1e12, 1.0]), np.eye(3) * [1, 1, 0]):
        with np.errstate(all="ignore"):
            assert draw_pair(make_scene(point_map=matrix), OPAQUE).shape[1] == WIDTH


def rendered(text: str) -> np.ndarray:
    image = np.zeros((60, 400, 3), np.uint8)
    put_text(image, text, 10, 40, 30, (255, 255, 255))
    return image


def test_korean_is_drawn_as_letters():
    assert rendered("항공").any()
    assert (rendered("항공") != rendered("??")).any()
    assert (rendered("항공") != rendered("사진")).any()
    np.testing.assert_array_equal(rendered(unicodedata.normalize("NFD", "드론")), rendered("드론"))


def test_text_ends_where_its_width_says():
    image = np.zeros((60, 600, 3), np.uint8)
    end = put_text(image, "400.0001 항공 0.92", 10, 40, 30, (255, 255, 255))
    assert end == 10 + text_width("400.0001 항공 0.92", 30)
    columns = np.nonzero(image.any(axis=(0, 2)))[0]
    assert abs(columns.max() - end) <= 4


@pytest.mark.parametrize("text", ["x" * 300, "긴 이름 " * 40, "short"])
def test_long_names_are_cut_in_the_middle(text):
    cut = shorten(text, 200, 26)
    assert text_width(cut, 26) <= 200
    assert (cut == text) == (text == "short")
    assert cut[0] == text[0]


def test_numbers_of_the_header():
    scene = make_scene(
        points_a=np.zeros((4, 2)),
        points_b=np.zeros((4, 2)),
        similarity=np.array([0.9, 0.8, 0.7, 0.1]),
        inliers=np.array([True, True, True, False]),
        residuals_px=np.array([1.0, 3.0, 2.0, 500.0]),
    )
    shown = [(number.label, number.value, number.suffix) for number in header_numbers(scene)]
    assert shown == [
        ("matches", "4", ""),
        ("inliers", "3", "75 %"),
        ("median error in b", "2.00", "px"),
        ("similarity of inliers", "0.70 – 0.90", ""),
    ]
    assert header_numbers(replace(scene, inliers=None))[1].value == "not verified"
    failed = replace(scene, inliers=np.zeros(4, bool), model_found=False)
    assert header_numbers(failed)[1].value == "no model found"


@pytest.mark.parametrize("inliers", [None, np.zeros(0, bool)])
def test_a_pair_without_matches_is_drawn(inliers):
    picture = draw_pair(make_scene(points_a=(), points_b=(), inliers=inliers), Strokes())
    assert picture.shape[1:] == (WIDTH, 3)
    assert picture.dtype == np.uint8


def test_drawing_leaves_the_photographs_given_unchanged():
    scene = make_scene()
    draw_pair(scene, Strokes())
    assert (scene.image_a == GREY).all()
    assert (scene.image_b == GREY).all()


def test_lines_stand_out_on_dark_and_on_bright_ground():
    for ground in (0, 255):
        plain = np.full((600, 600, 3), ground, np.uint8)
        scene = make_scene(
            (600, 600), (600, 600), ((50.0, 300.0),), ((550.0, 300.0),), image_a=plain, image_b=plain.copy()
        )
        picture = draw_pair(scene, Strokes(points=False))
        row = round(on_picture(scene, "a")[0, 1])
        column = cv2.cvtColor(picture[row - 6 : row + 7, 600:601], cv2.COLOR_RGB2LAB)[:, 0].astype(int)
        contrast = np.abs(column - column[0]).max()
        assert contrast > 40
    assert max(HALO) < 20
