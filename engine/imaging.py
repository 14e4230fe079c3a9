"""Photographs from disk to arrays: decoding, and the resampling the backbone's input needs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.digest import file_sha256
from engine.errors import ImageReadError
from engine.jpeg import is_jpeg, jpeg_is_complete, jpeg_scan_is_damaged, jpeg_size
from engine.png import is_png, png_chunks_fit
from engine.resampling import encoded_size, resize

__all__ = ["Decoded", "encoded_size", "image_file_facts", "image_sha256", "read_image", "read_reduced", "resize"]

# OpenCV's own complaints (0: none) would stand in front of ours and lack the file's name. OpenCV 5 moved the function.
getattr(cv2.utils, "logging", cv2).setLogLevel(0)

_DECODE_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED_FLAGS = {
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}

_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "HEIC": re.compile(rb"....ftyp(?:hei[cxms]|hev[cx]|mif1)", re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
}

REDUCTIONS = (8, 4, 2)
"""By how much a JPEG can be decoded smaller: the decoder then computes fewer points of each block of 8 x 8 pixels."""
REDUCED_MARGIN = 1.5
"""A reduced picture has at least so many pixels along each side for each one that is wanted."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded photograph.

    Attributes:
        pixels: [H, W, 3] uint8 RGB, C order.
        size: (width, height) in pixels of the stored file.
        reduction: 1, or by how much the decoder reduced the picture; the last row and column may then lie partly
            beyond the picture's edge.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    reduction: int = 1

    @property
    def extent(self) -> tuple[float, float]:
        """(width, height) of the stored picture in pixels of this one."""
        return self.size[0] / self.reduction, self.size[1] / self.reduction


def read_image(path: Path) -> NDArray[np.uint8]:
    """The photograph's pixels as stored, whatever its EXIF orientation says: [H, W, 3] uint8, RGB, C order.

    Grey becomes three equal channels. Alpha is dropped (in a TIFF, colours come multiplied by it: opaque pixels stay
    as they are). 16 bits become 8 by v / 257, rounded, which maps 0..65535 to 0..255. CMYK becomes RGB without a
    colour profile.

    Raises:
        ImageReadError: the file is missing, unreadable, empty, truncated, damaged, of no known format, or of another
            pixel type; the message names the file and the reason.
    """
    return _decode(path, _read(path), _DECODE_FLAGS)


def read_reduced(path: Path, needed: Callable[[tuple[int, int]], tuple[int, int]]) -> Decoded:
    """Like `read_image`, decoded smaller where the file is a JPEG much larger than what is needed of it.

    Args:
        needed: (width, height) of a photograph to the (width, height) it will be resized to.

    Raises:
        ImageReadError: as for `read_image`.
    """
    data = _read(path)
    size = jpeg_size(data) if is_jpeg(data) else None
    if size is not None:
        target = needed(size)
        for reduction in REDUCTIONS:
            if all(have >= REDUCED_MARGIN * reduction * want for have, want in zip(size, target, strict=True)):
                pixels = _decode(path, data, _REDUCED_FLAGS[reduction])
                if pixels.shape[:2] == (-(-size[1] // reduction), -(-size[0] // reduction)):
                    return Decoded(pixels, size, reduction)
                break  # not what the header promised: the exact path shows what the file really holds
    pixels = _decode(path, data, _DECODE_FLAGS)
    return Decoded(pixels, (pixels.shape[1], pixels.shape[0]))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise ImageReadError(f"{path} is empty (0 bytes): copy the photograph again")
    if is_jpeg(data) and jpeg_scan_is_damaged(data):
        raise ImageReadError(
            f"{path} is damaged: bytes inside the JPEG's image data cannot belong to it. "
            "Copy or download the photograph again"
        )
    if is_jpeg(data) and not jpeg_is_complete(data):
        # Some OpenCV releases fill the missing part with whatever memory held, and report nothing.
        raise ImageReadError(
            f"{path} is truncated: the JPEG stops after {len(data):,} bytes without an end marker. "
            "Copy or download the photograph again"
        )
    if is_png(data) and not png_chunks_fit(data):
        raise ImageReadError(f"{path} cannot be decoded. {_diagnosis(data)}")
    return data


def _decode(path: Path, data: bytes, flags: int) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageReadError(f"{path} cannot be decoded: {error.err}. {_diagnosis(data)}") from error
    if image is None:
        raise ImageReadError(f"{path} cannot be decoded. {_diagnosis(data)}")
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageReadError(
            f"{path} holds {image.dtype} values; only 8 and 16 bits a channel are read. Convert it to 8-bit RGB"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def image_file_facts(path: Path) -> tuple[int, int]:
    """Size of the file in bytes, and its modification time in nanoseconds since the epoch.

    Raises:
        ImageReadError: the file is missing or out of reach.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return facts.st_size, facts.st_mtime_ns


def image_sha256(path: Path) -> str:
    """SHA-256 (hex) of the file's content.

    Raises:
        ImageReadError: the file cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _diagnosis(data: bytes) -> str:
    """Why OpenCV could not decode the data, as far as its first bytes tell, and what to do."""
    name = next((name for name, signature in _SIGNATURES.items() if signature.match(data)), None)
    if name is None:
        return f"It is no picture: it begins with {data[:12]!r}. Use JPEG, PNG, TIFF, WebP or BMP files"
    if name == "HEIC":
        return "HEIC pictures cannot be read: convert it to JPEG"
    return (
        f"It begins as a {name} file but is truncated, damaged or of a rare kind: copy it again or convert it to JPEG"
    )


def _unreadable(path: Path, error: OSError) -> ImageReadError:
    reason = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror or str(error)
    return ImageReadError(f"{path} cannot be read: {reason}. Check the path and its permissions")
