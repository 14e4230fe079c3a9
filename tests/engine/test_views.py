import cv2
import numpy as np
import pytest
from conftest import texture

from engine.coordinates import project
from engine.views import UPRIGHT, View, canvas_size, canvas_to_encoded, turn


@pytest.mark.parametrize(
    ("view", "word"),
    [(UPRIGHT, "upright"), (View(90.0), "r090"), (View(30.0, 0.5), "r030_s0.5"), (View(0.0, 2.0), "s2")],
)
def test_words(view: View, word: str) -> None:
    assert view.word == word


@pytest.mark.parametrize("wrong", [(-1.0, 1.0), (360.0, 1.0), (0.0, 0.0), (0.0, float("nan"))])
def test_no_such_view(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no such view"):
        View(*wrong)


@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0, 90.0, 135.0, 180.0, 240.0, 270.0, 330.0])
def test_a_marked_spot_lands_where_the_matrix_says(angle: float) -> None:
    picture = np.zeros((96, 160, 3), np.uint8)
    cv2.circle(picture, (40, 70), 3, (255, 255, 255), -1)
    canvas = turn(picture, angle, 16)
    size = (canvas.shape[1], canvas.shape[0])
    assert size == canvas_size((160, 96), angle, 16)
    assert size[0] % 16 == size[1] % 16 == 0
    y, x = np.mgrid[: size[1], : size[0]]
    placed = project(canvas_to_encoded((160, 96), size, angle), np.column_stack([x.ravel(), y.ravel()]).astype(float))
    # The canvas beyond the picture holds its mirror image, with a second spot.
    inside = ((placed > 0) & (placed < [159, 95])).all(axis=1)
    weight = canvas[..., 0].ravel() * inside
    back = (placed * weight[:, None]).sum(axis=0) / weight.sum()
    assert np.abs(back - [40, 70]).max() < 0.1


def test_quarter_turns_are_exact_and_clockwise() -> None:
    picture = texture(48, 80)
    assert np.array_equal(turn(picture, 90.0, 16), cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE))
    assert np.array_equal(turn(picture, 180.0, 16), cv2.rotate(picture, cv2.ROTATE_180))


def test_the_canvas_holds_the_whole_picture() -> None:
    for angle in range(0, 360, 15):
        canvas = canvas_size((320, 192), float(angle), 16)
        corners = np.array([[-0.5, -0.5], [319.5, -0.5], [319.5, 191.5], [-0.5, 191.5]])
        placed = project(np.linalg.inv(canvas_to_encoded((320, 192), canvas, float(angle))), corners)
        assert placed.min() >= -0.5 - 1e-6
        assert (placed <= np.array(canvas) - 0.5 + 1e-6).all()
