"""Photographs of unusual kinds are read right; broken ones give an error with file and reason. Pillow is the judge."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.errors import ImageReadError, WorkError
from engine.imaging import image_file_facts, read_image

WIDTH, HEIGHT = 96, 64


def _scene() -> NDArray[np.uint8]:
    """[64, 96, 3] uint8: smooth, different in each channel and at each corner, so that JPEG keeps it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [x * 2.5, 120 + 100 * np.sin(y / 12), 255 - y * 3.0]
    return np.dstack(waves).clip(0, 255).astype(np.uint8)


def _save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def _rgb(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(_scene())


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {"quality": 95}),
        ("jpg", {"progressive": True}),
        ("jpg", {"restart_marker_rows": 1}),
        ("png", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {"lossless": True}),
        ("bmp", {}),
    ],
)
def test_colour_pictures(suffix: str, options: dict[str, Any], picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / f"a.{suffix}", picture, **options)
    image = read_image(path)
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image.astype(int), _rgb(path), rtol=0, atol=1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_grey_becomes_three_equal_channels(suffix: str, picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / f"grey.{suffix}", picture.convert("L"))
    image = read_image(path)
    assert np.array_equal(image, np.repeat(image[..., :1], 3, axis=2))
    np.testing.assert_allclose(image.astype(int), _rgb(path), rtol=0, atol=1)


def test_alpha_is_dropped_and_colours_stay(picture: Image.Image, tmp_path: Path) -> None:
    picture.putalpha(Image.fromarray(_scene()[..., 0]))
    assert np.array_equal(read_image(_save(tmp_path / "alpha.png", picture)), _scene())
    picture.putalpha(255)
    assert np.array_equal(read_image(_save(tmp_path / "alpha.tif", picture)), _scene())


def test_a_palette_becomes_its_colours(picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / "palette.png", picture.quantize(32))
    assert np.array_equal(read_image(path), _rgb(path))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_to_8(suffix: str, tmp_path: Path) -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    image = read_image(_save(tmp_path / f"deep.{suffix}", Image.fromarray(values)))
    assert (image.min(), image.max()) == (0, 255)
    for channel in range(3):
        assert np.array_equal(image[..., channel], np.rint(values / 257).astype(np.uint8))


def test_cmyk_becomes_rgb(picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / "print.jpg", picture.convert("CMYK"), quality=95)
    image = read_image(path)
    np.testing.assert_allclose(image.astype(int), _rgb(path), rtol=0, atol=2)
    assert np.abs(image.astype(int) - _scene()).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_stored_whatever_exif_says(orientation: int, picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / "turned.jpg", picture, quality=95, exif=exif)
    np.testing.assert_allclose(read_image(path).astype(int), _rgb(path), rtol=0, atol=1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_single_pixel(suffix: str, tmp_path: Path) -> None:
    path = _save(tmp_path / f"dot.{suffix}", Image.new("RGB", (1, 1), (200, 200, 200)))
    assert np.array_equal(read_image(path), np.full((1, 1, 3), 200, np.uint8))


def test_spaces_and_korean_letters(picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / "드론 사진 2025" / "1차 비행_400.png", picture)
    assert np.array_equal(read_image(path), _scene())


def _jpeg(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"thumbnail": True}])
def test_a_jpeg_cut_anywhere_is_an_error(options: dict[str, Any], picture: Image.Image, tmp_path: Path) -> None:
    if options.pop("thumbnail", False):  # a whole JPEG, end marker included, inside the header of another
        preview = _jpeg(picture.resize((16, 16)))
        data = b"\xff\xd8\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + _jpeg(picture)[2:]
    else:
        data = _jpeg(picture, **options)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data)
    assert read_image(path).shape == (HEIGHT, WIDTH, 3)
    for length in sorted(
        {3, 10, 100, *range(len(data) // 20, len(data), len(data) // 20), len(data) - 2, len(data) - 1}
    ):
        path.write_bytes(data[:length])
        with pytest.raises(ImageReadError, match=r"cut\.jpg is truncated.*Copy or download"):
            read_image(path)


def test_a_jpeg_padded_with_zeros_is_an_error(picture: Image.Image, tmp_path: Path) -> None:
    data = _jpeg(picture)
    path = tmp_path / "padded.jpg"
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(path)


def test_data_after_the_picture_does_no_harm(picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "appended.jpg"
    path.write_bytes(_jpeg(picture) + b"camera data \xff\xd8\xff\xe1")
    np.testing.assert_allclose(read_image(path).astype(int), _rgb(path), rtol=0, atol=1)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_other_truncated_files_are_errors(suffix: str, share: float, picture: Image.Image, tmp_path: Path) -> None:
    path = _save(tmp_path / f"cut.{suffix}", picture)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageReadError) as raised:
        read_image(path)
    assert str(path) in str(raised.value)
    assert "truncated, damaged" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("text.jpg", b"Not Found\n", "It is no picture: it begins with b'Not Found"),
        ("zeros.jpg", bytes(1000), "It is no picture"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC pictures cannot be read: convert it to JPEG"),
        ("header.jpg", b"\xff\xd8\xff\xd9", "begins as a JPEG file but is truncated, damaged"),
    ],
)
def test_what_is_no_picture_is_an_error(name: str, data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageReadError) as raised:
        read_image(path)
    assert str(path) in str(raised.value)
    assert told in str(raised.value)
    assert isinstance(raised.value, WorkError)
    assert raised.value.exit_code == 1


def test_floating_point_pixels_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "reflectance.tif"
    path.write_bytes(cv2.imencode(".tif", _scene().astype(np.float32))[1].tobytes())
    with pytest.raises(ImageReadError, match=r"holds float32 values; only 8 and 16 bits"):
        read_image(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for function in (read_image, image_file_facts):
        with pytest.raises(ImageReadError, match=r"gone\.jpg cannot be read: No such file"):
            function(tmp_path / "gone.jpg")
    with pytest.raises(ImageReadError, match="cannot be read"):
        read_image(tmp_path)


def test_random_damage_never_escapes_as_another_error(picture: Image.Image, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged.jpg"
    outcomes = set()
    for _ in range(200):
        data = np.frombuffer(_jpeg(picture), np.uint8).copy()
        where = rng.integers(0, len(data), 8)
        data[where] = rng.integers(0, 256, 8)
        path.write_bytes(data.tobytes())
        try:
            outcomes.add(read_image(path).shape[2])
        except ImageReadError:
            outcomes.add("refused")
    assert outcomes == {3, "refused"}


def test_facts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    assert image_file_facts(path) == (5, path.stat().st_mtime_ns)
