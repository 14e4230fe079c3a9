"""The size photographs are encoded at, and resampling, held against Pillow."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from conftest import texture
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from engine.imaging import encoded_size, resize

_SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("size", "image_size", "stride", "expected"),
    [
        ((4000, 3000), 336, 16, (448, 336)),
        ((3000, 4000), 336, 16, (336, 448)),
        ((1080, 1080), 672, 16, (672, 672)),
        ((1920, 1080), 336, 16, (592, 336)),  # 597.3 is nearer to 592 than to 608
        ((5472, 3648), 336, 32, (512, 352)),  # 336 is 10.5 strides of 32, and 504 is 15.75
        ((3, 2), 16, 16, (32, 16)),  # 24 is 1.5 strides: up
        ((1, 1), 336, 16, (336, 336)),
        ((500, 400), 5, 16, (16, 16)),
        ((100, 1), 16, 16, (1600, 16)),
    ],
)
def test_encoded_size(size: tuple[int, int], image_size: int, stride: int, expected: tuple[int, int]) -> None:
    assert encoded_size(size, image_size, stride) == expected


@given(_SIDES, _SIDES, st.integers(1, 4096), st.sampled_from([14, 16, 32]))
def test_encoded_size_is_the_exact_rounding(width: int, height: int, image_size: int, stride: int) -> None:
    scale = Fraction(image_size, min(width, height))
    strides = (max(floor(side * scale / stride + Fraction(1, 2)), 1) for side in (width, height))
    assert encoded_size((width, height), image_size, stride) == tuple(count * stride for count in strides)


@pytest.mark.parametrize("arguments", [((0, 5), 336, 16), ((5, 5), 0, 16), ((5, 5), 336, 0)])
def test_sizes_below_one_are_refused(arguments: tuple[tuple[int, int], int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        encoded_size(*arguments)


def _pillow(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _largest_difference(image: NDArray[np.uint8], size: tuple[int, int]) -> int:
    ours = resize(image, size)
    assert ours.shape == (size[1], size[0], 3)
    assert ours.dtype == np.uint8
    assert ours.flags.c_contiguous
    return int(np.abs(ours.astype(int) - _pillow(image, size)).max())


_SMALL = st.integers(1, 300)


@settings(max_examples=150, deadline=None)
@given(_SMALL, _SMALL, _SMALL, _SMALL, st.integers(0, 2**32 - 1), st.booleans())
@example(300, 1, 1, 300, 0, True)
@example(1, 1, 48, 16, 0, False)
@example(299, 7, 300, 8, 0, True)
def test_resize_agrees_with_pillow(w_in: int, h_in: int, w_out: int, h_out: int, seed: int, extreme: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2 if extreme else 256, (h_in, w_in, 3))
    image = (values * (255 if extreme else 1)).astype(np.uint8)
    assert _largest_difference(image, (w_out, h_out)) <= 1


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [
        ((4000, 3000), (448, 336)),
        ((1080, 1080), (672, 672)),
        ((500, 375), (896, 672)),
        ((6000, 40), (48, 32)),
        ((17, 3000), (352, 16)),
        ((2999, 2001), (2000, 1334)),
    ],
)
def test_resize_agrees_with_pillow_at_the_sizes_of_photographs(
    size_in: tuple[int, int], size_out: tuple[int, int]
) -> None:
    image = np.random.default_rng(7).integers(0, 256, (size_in[1], size_in[0], 3), dtype=np.uint8)
    assert _largest_difference(image, size_out) <= 1


def test_resize_hardly_differs_from_pillow_on_average() -> None:
    image = np.random.default_rng(3).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    difference = resize(image, (240, 176)).astype(int) - _pillow(image, (240, 176))
    assert abs(difference.mean()) < 0.02
    assert np.abs(difference).mean() < 0.25


def _pillow_columns_first(
    image: NDArray[np.uint8], size: tuple[int, int], kernel: str, box: tuple[float, float] | None = None
) -> NDArray[np.int_]:
    """Pillow's passes one by one: its releases differ in which comes first."""
    across, down = box or image.shape[1::-1]
    method = Image.Resampling[kernel.upper()]
    narrow = Image.fromarray(image).resize((size[0], image.shape[0]), method, (0, 0, across, image.shape[0]))
    return np.asarray(narrow.resize(size, method, (0, 0, size[0], down))).astype(int)


@settings(max_examples=150, deadline=None)
@given(
    _SMALL, _SMALL, _SMALL, _SMALL, st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["bicubic", "lanczos"])
)
@example(300, 1, 1, 300, 0, True, "lanczos")
@example(1, 1, 48, 16, 0, False, "bicubic")
@example(299, 7, 300, 8, 0, True, "lanczos")
def test_kernels_agree_with_pillow(
    w_in: int, h_in: int, w_out: int, h_out: int, seed: int, extreme: bool, kernel: str
) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, 2, (h_in, w_in, 3)) * 255 if extreme else rng.integers(0, 256, (h_in, w_in, 3))).astype(
        np.uint8
    )
    ours = resize(image, (w_out, h_out), kernel=kernel)
    assert (ours.shape, ours.dtype, ours.flags.c_contiguous) == ((h_out, w_out, 3), np.uint8, True)
    assert np.array_equal(ours, _pillow_columns_first(image, (w_out, h_out), kernel))


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(448, 336), (96, 64), (1760, 1328)])
def test_kernels_agree_with_pillow_on_pictures(kernel: str, size: tuple[int, int]) -> None:
    image = texture(750, 1000, 5)
    at_once = np.asarray(Image.fromarray(image).resize(size, Image.Resampling[kernel.upper()])).astype(int)
    difference = resize(image, size, kernel=kernel) - at_once
    assert np.abs(difference).mean() < 0.05
    assert abs(difference.mean()) < 0.01
    assert np.abs(resize(image, size).astype(int) - at_once).mean() > 0.2  # the kernels are different ones


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_kernels_take_a_part_of_a_picture(kernel: str) -> None:
    image = np.random.default_rng(4).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    for size, extent in (((60, 40), (149.5, 99.25)), ((200, 128), (149.125, 100.0))):
        ours = resize(image, size, extent, kernel)
        assert np.array_equal(ours, _pillow_columns_first(image, size, kernel, extent))
    assert not np.array_equal(resize(image, (60, 40), (149.5, 99.25), kernel), resize(image, (60, 40), kernel=kernel))


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_kernels_keep_flat_images_own_size_and_views(kernel: str) -> None:
    flat = np.full((123, 457, 3), (0, 200, 255), np.uint8)
    assert np.array_equal(resize(flat, (64, 48), kernel=kernel), np.broadcast_to(flat[0, 0], (48, 64, 3)))
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert np.array_equal(resize(noise, (120, 90), kernel=kernel), noise)
    turned = noise[::-1, ::2]
    again = np.ascontiguousarray(turned)
    assert np.array_equal(resize(turned, (32, 48), kernel=kernel), resize(again, (32, 48), kernel=kernel))


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel 'box': choose one of bilinear, bicubic, lanczos"):
        resize(np.zeros((4, 4, 3), np.uint8), (2, 2), kernel="box")


def test_resize_keeps_flat_images_and_own_size_exactly() -> None:
    flat = np.full((123, 457, 3), (0, 200, 255), np.uint8)
    assert np.array_equal(resize(flat, (64, 48)), np.broadcast_to(flat[0, 0], (48, 64, 3)))
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(resize(noise, (30, 20)), noise)


def test_resize_takes_views_of_arrays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    turned = image[::-1, ::2]
    assert np.array_equal(resize(turned, (32, 48)), resize(np.ascontiguousarray(turned), (32, 48)))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4), (0, 4, 3)])
def test_resize_refuses_other_arrays(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot resize"):
        resize(np.zeros(shape, np.uint8), (2, 2))
    with pytest.raises(ValueError, match="cannot resize"):
        resize(np.zeros((4, 4, 3), np.float32), (2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot resize"):
        resize(np.zeros((4, 4, 3), np.uint8), (0, 2))
