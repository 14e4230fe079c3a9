"""JPEG markers, and photographs decoded smaller than they are, compared with Pillow and with the exact path."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import texture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from engine.dataset import ImageEntry
from engine.encoding import EXACT, FAST, read_upright
from engine.errors import ImageReadError
from engine.imaging import REDUCED_MARGIN, read_image, read_reduced
from engine.jpeg import is_jpeg, jpeg_is_complete, jpeg_scan_is_damaged, jpeg_size
from engine.resampling import resize

AERIAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "aerial"
KINDS = ("4:2:0", "4:2:2", "4:4:4", "grey", "progressive", "restarts", "exif")


def jpeg_bytes(pixels: NDArray[np.uint8], kind: str = "4:2:0", quality: int = 90) -> bytes:
    """A JPEG by Pillow; `exif` says that it is to be shown turned, and holds a preview that is a JPEG itself."""
    picture = Image.fromarray(pixels)
    how: dict[str, object] = {"quality": quality}
    if kind in ("4:2:0", "4:2:2", "4:4:4"):
        how["subsampling"] = kind
    if kind == "grey":
        picture = picture.convert("L")
    if kind == "progressive":
        how["progressive"] = True
    if kind == "restarts":
        how["restart_marker_blocks"] = 3
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        preview = io.BytesIO()
        Image.fromarray(pixels[:16, :24]).save(preview, "JPEG")
        how["exif"] = exif.tobytes() + preview.getvalue()
    file = io.BytesIO()
    picture.save(file, "JPEG", **how)
    return file.getvalue()


def landscape(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A texture of about as much colour as photographs have: JPEG keeps less of that than of lightness."""
    colours = texture(height, width, seed).astype(float)
    return (
        np.asarray(colours.mean(axis=2, keepdims=True) + 0.2 * (colours - 128), np.float32)
        .clip(0, 255)
        .astype(np.uint8)
    )


def entry(path: Path) -> ImageEntry:
    return ImageEntry("400.1", "400.1", path, "A", "400", "1")


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(KINDS), st.integers(0, 50), st.binary(max_size=30))
def test_size_and_end_agree_with_pillow(width: int, height: int, kind: str, cut: int, tail: bytes) -> None:
    data = jpeg_bytes(texture(height, width), kind)
    assert is_jpeg(data)
    with Image.open(io.BytesIO(data)) as picture:
        assert jpeg_size(data) == picture.size == (width, height)
    assert jpeg_is_complete(data)
    assert not jpeg_scan_is_damaged(data)
    assert not jpeg_scan_is_damaged(data + tail)
    assert jpeg_is_complete(data + tail.replace(b"\xff", b""))
    assert not jpeg_is_complete(data[: len(data) - 2 - cut])


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    for some in (data, b"\xff\xd8\xff" + data, b"\xff\xd8\xff\xc0\x00\x11\x08" + data):
        size = jpeg_size(some)
        assert size is None or min(size) > 0
        assert jpeg_is_complete(some) in (True, False)
        assert jpeg_scan_is_damaged(some) in (True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_cannot_be_in_a_picture_are_noticed(kind: str, tmp_path: Path) -> None:
    """Two kilobytes of noise in the middle; the end marker is there."""
    data = bytearray(jpeg_bytes(texture(400, 600), kind))
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(data))
    for read in (read_image, lambda path: read_reduced(path, lambda _: (60, 40))):
        with pytest.raises(ImageReadError, match=r"a\.jpg is damaged"):
            read(path)


def test_a_lost_or_stray_restart_is_noticed() -> None:
    data = jpeg_bytes(texture(64, 64), "restarts")
    first = data.index(b"\xff\xd0", data.index(b"\xff\xda"))
    assert not jpeg_scan_is_damaged(data)
    assert jpeg_scan_is_damaged(data[:first] + data[first + 2 :])
    plain = jpeg_bytes(texture(64, 64))
    middle = plain.index(b"\xff\xda") + 100
    assert jpeg_scan_is_damaged(plain[:middle] + b"\xff\xd0" + plain[middle:])


@pytest.mark.skipif(not AERIAL.is_dir(), reason="the aerial photographs are not there")
def test_no_sound_photograph_is_called_damaged() -> None:
    assert not any(jpeg_scan_is_damaged(path.read_bytes()) for path in AERIAL.parent.rglob("*.jpg"))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(40, 700),
    height=st.integers(40, 700),
    want=st.tuples(st.integers(5, 120), st.integers(5, 120)),
    kind=st.sampled_from(KINDS),
)
def test_what_is_read_is_as_large_as_needed_and_no_larger_than_necessary(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, want: tuple[int, int], kind: str
) -> None:
    path = tmp_path_factory.mktemp("jpeg") / "a.jpg"
    path.write_bytes(jpeg_bytes(texture(height, width), kind))
    asked = []

    def needed(size: tuple[int, int]) -> tuple[int, int]:
        asked.append(size)
        return want

    decoded = read_reduced(path, needed)
    assert asked == [(width, height)]
    assert decoded.size == (width, height), "the stored size, whatever EXIF says about turning"
    room = min(width / want[0], height / want[1]) / REDUCED_MARGIN
    assert decoded.reduction == max([by for by in (1, 2, 4, 8) if by <= room], default=1)
    assert decoded.pixels.shape == (-(-height // decoded.reduction), -(-width // decoded.reduction), 3)
    if decoded.reduction == 1:
        assert np.array_equal(decoded.pixels, read_image(path))


def both_ways(path: Path, image_size: int = 112) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The picture as the graph gets it, decoded fast and exactly."""
    fast, exact = (read_upright(entry(path), image_size, 1.0, 16, decode) for decode in (FAST, EXACT))
    assert fast.size == exact.size
    assert fast.pixels.shape == exact.pixels.shape
    return fast.pixels.astype(float), exact.pixels.astype(float)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1000, 750), (1003, 749), (361, 365), (2001, 701)])
def test_fast_and_exact_differ_by_less_than_a_grey_level_on_average(
    size: tuple[int, int], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(landscape(size[1], size[0], seed=size[0]), kind))
    assert read_reduced(path, lambda _: both_ways(path)[0].shape[1::-1]).reduction > 1
    fast, exact = both_ways(path)
    assert fast.std() > 20
    assert 0 < np.abs(fast - exact).mean() < 1.0


def shift_px(fast: NDArray[np.float64], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement (x, y) of one picture in the other: least squares on its gradient, as optical flow has it."""
    down, across = np.gradient(exact.mean(axis=2))
    change = (fast - exact).mean(axis=2)
    inner = (slice(4, -4), slice(4, -4))
    design = np.column_stack([-across[inner].ravel(), -down[inner].ravel()])
    return np.linalg.lstsq(design, change[inner].ravel(), rcond=None)[0]


def test_the_measure_of_displacement_measures_it() -> None:
    picture = texture(400, 600).astype(np.float32)
    moved = cv2.warpAffine(picture, np.float32([[1, 0, 0.25], [0, 1, -0.5]]), (600, 400), flags=cv2.INTER_CUBIC)
    np.testing.assert_allclose(shift_px(moved.astype(float), picture.astype(float)), [0.25, -0.5], atol=0.05)


@pytest.mark.parametrize("size", [(1000, 752), (1001, 751), (1003, 749), (1007, 745)])
@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4"])
def test_fast_moves_nothing_also_at_odd_sizes(size: tuple[int, int], kind: str, tmp_path: Path) -> None:
    """Every quadrant by itself: a wrong scale would move the corners apart and leave the mean alone."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(texture(size[1], size[0], seed=1), kind))
    fast, exact = both_ways(path, 224)
    middle_y, middle_x = exact.shape[0] // 2, exact.shape[1] // 2
    for rows in (slice(0, middle_y), slice(middle_y, None)):
        for columns in (slice(0, middle_x), slice(middle_x, None)):
            assert np.abs(shift_px(fast[rows, columns], exact[rows, columns])).max() < 0.1


@pytest.mark.skipif(not AERIAL.is_dir(), reason="the aerial photographs are not there")
@pytest.mark.parametrize("kind", KINDS)
def test_real_photographs_fast_and_exact(kind: str, tmp_path: Path) -> None:
    paths = sorted(AERIAL.rglob("*.jpg"))[::6]
    assert paths
    for source in paths:
        pixels = read_image(source)
        for crop in (pixels, pixels[:749, :1003]):
            path = tmp_path / "a.jpg"
            path.write_bytes(jpeg_bytes(crop, kind))
            for image_size in (112, 336):
                fast, exact = both_ways(path, image_size)
                assert np.abs(fast - exact).mean() < 1.0, source
                assert np.abs(shift_px(fast, exact)).max() < 0.1, source


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    lost=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_an_extent_is_where_the_picture_ends(
    shape: tuple[int, int], lost: tuple[float, float], size: tuple[int, int]
) -> None:
    """A ramp, straight in the input's frame, is straight in that of the extent, away from the edges."""
    height, width = shape
    extent = (width - lost[0], height - lost[1])
    ramp = np.repeat((np.arange(width) * 5 + 20)[None, :, None], height, axis=0)
    made = resize(np.repeat(ramp, 3, axis=2).astype(np.uint8), size, extent)
    scale = extent[0] / size[0]
    centres = (np.arange(size[0]) + 0.5) * scale - 0.5
    reach = max(scale, 1.0)
    inside = (centres - reach >= -0.001) & (centres + reach <= width - 0.999)
    # Between two input columns the mean of a ramp under a triangle is within the triangle's own rounding.
    assert np.abs(made[:, inside] - (5 * centres[inside] + 20)[None, :, None]).max(initial=0) <= 0.5 + 5 * 0.13


@pytest.mark.parametrize("extent", [(0.0, 4.0), (4.0, 4.1), (-1.0, 4.0), (float("nan"), 4.0)])
def test_an_extent_the_image_does_not_have(extent: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="extent"):
        resize(np.zeros((4, 4, 3), np.uint8), (2, 2), extent)


def test_a_header_that_lies_is_read_whole_or_said(tmp_path: Path) -> None:
    """The frame header claims another height than the data: never a picture of made-up pixels at the wrong size."""
    data = bytearray(jpeg_bytes(texture(400, 600)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 7] = (4000).to_bytes(2, "big")
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(data))
    try:
        decoded = read_reduced(path, lambda size: (size[0] // 13, size[1] // 13))
    except ImageReadError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert decoded.pixels.shape[:2] == (
            -(-decoded.size[1] // decoded.reduction),
            -(-decoded.size[0] // decoded.reduction),
        )


def test_other_formats_are_read_whole(tmp_path: Path) -> None:
    pixels = texture(300, 400)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    decoded = read_reduced(path, lambda _: (10, 10))
    assert (decoded.reduction, decoded.size, decoded.extent) == (1, (400, 300), (400.0, 300.0))
    assert np.array_equal(decoded.pixels, pixels)
