"""Photographs to feature maps: decode, resize to the grid, run the graph."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.dataset import ImageEntry
from engine.errors import ImageReadError, WorkError
from engine.features import FeatureMap
from engine.imaging import Decoded, image_file_facts, image_sha256, read_image, read_reduced
from engine.loaded_graph import GraphRuntime
from engine.resampling import encoded_size, resize
from engine.results import ImageRef
from engine.views import UPRIGHT, View, turn
from models.contract import BILINEAR

MAX_TOKENS = 65536
"""Attention takes memory and time with the square of the tokens: beyond this, a picture is a mistake or a panorama."""


FAST, EXACT = "fast", "exact"
DECODES = (FAST, EXACT)
"""How large JPEGs are decoded: at a half, a quarter or an eighth where that is still 1.5 times what is needed (on
average within one grey level of the exact path, structures within a tenth of a pixel), or always whole."""


def preprocessing_word(decode: str, resampling: str) -> str:
    """The word by which stored features tell how their images were decoded and resized.

    Args:
        decode: one of `DECODES`.
        resampling: of the graph, one of `models.contract.RESAMPLINGS`.
    """
    return f"{resampling}-dct" if decode == FAST else resampling


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A photograph's feature map, what its file was, and the milliseconds that encoding took (0 when read back)."""

    image: ImageRef
    features: FeatureMap
    forward_ms: float


@dataclass(frozen=True, eq=False)
class UprightPicture:
    """A photograph decoded and resized: pixels [H, W, 3] uint8 RGB, and what its file was.

    Attributes:
        size: (width, height) of the stored file in pixels.
        sha256: of its content (hex); empty for a picture of no file.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    bytes: int
    modified_ns: int
    sha256: str = ""


def read_upright(
    entry: ImageEntry,
    image_size: int,
    scale: float,
    stride: int,
    decode: str = EXACT,
    resampling: str = BILINEAR,
    sha256: str = "",
) -> UprightPicture:
    """Decodes a photograph and resizes it to the grid.

    Args:
        image_size: shorter side of the encoded image in pixels, at scale 1.
        scale: factor on `image_size`.
        decode: one of `DECODES`.
        resampling: of the graph, one of `models.contract.RESAMPLINGS`.
        sha256: of the file (hex), where it was taken already.

    Raises:
        ImageReadError: the file cannot be decoded, or would take more than `MAX_TOKENS` tokens.
    """
    # The facts are read first: a file replaced while it is decoded then counts as changed, never as up to date.
    file_bytes, modified_ns = image_file_facts(entry.path)
    sha256 = sha256 or image_sha256(entry.path)

    def needed(size: tuple[int, int]) -> tuple[int, int]:
        return _target(size, image_size, scale, stride)

    decoded = read_reduced(entry.path, needed) if decode == FAST else _whole(read_image(entry.path))
    pixels = _on_grid(decoded, image_size, scale, stride, str(entry.path), resampling)
    return UprightPicture(pixels, decoded.size, file_bytes, modified_ns, sha256)


def _on_grid(
    decoded: Decoded, image_size: int, scale: float, stride: int, name: str, resampling: str
) -> NDArray[np.uint8]:
    size, target = decoded.size, _target(decoded.size, image_size, scale, stride)
    tokens_needed = (target[0] // stride) * (target[1] // stride)
    if tokens_needed > MAX_TOKENS:
        raise ImageReadError(
            f"{name}: {size[0]} x {size[1]} px at an image size of {image_size} would take {tokens_needed} tokens, "
            f"more than {MAX_TOKENS}: crop it, or choose a smaller image size"
        )
    return resize(decoded.pixels, target, decoded.extent, resampling)


def _target(size: tuple[int, int], image_size: int, scale: float, stride: int) -> tuple[int, int]:
    return encoded_size(size, max(1, round(image_size * scale)), stride)


def _whole(pixels: NDArray[np.uint8]) -> Decoded:
    return Decoded(pixels, (pixels.shape[1], pixels.shape[0]))


def encode(entry: ImageEntry, runtime: GraphRuntime, image_size: int, view: View = UPRIGHT) -> EncodedImage:
    """Encodes one view of a photograph. See `read_upright` and `encode_picture`."""
    graph = runtime.graph
    picture = read_upright(entry, image_size, view.scale, graph.stride, resampling=graph.resampling)
    return encode_picture(entry, picture, runtime, view.rotation_deg)


def encode_picture(
    entry: ImageEntry, picture: UprightPicture, runtime: GraphRuntime, rotation_deg: float = 0.0
) -> EncodedImage:
    """Runs the graph on a picture, turned clockwise by `rotation_deg`. See `encode_batch`."""
    return encode_batch([(entry, picture)], runtime, rotation_deg)[0]


def encode_batch(
    pictures: Sequence[tuple[ImageEntry, UprightPicture]], runtime: GraphRuntime, rotation_deg: float = 0.0
) -> list[EncodedImage]:
    """Runs the graph on pictures of one size, turned clockwise by `rotation_deg`.

    Raises:
        ProviderError: the runtime failed.
        WorkError: the graph gave values that are not finite.
    """
    stride = runtime.graph.stride
    canvases = np.stack([turn(picture.pixels, rotation_deg, stride) for _, picture in pictures])
    started = time.perf_counter()
    tokens, global_descriptors = runtime(canvases)
    forward_ms = (time.perf_counter() - started) * 1e3 / len(pictures)
    canvas = (canvases.shape[2], canvases.shape[1])
    grid = (canvas[1] // stride, canvas[0] // stride)
    encoded = []
    for row, (entry, picture) in enumerate(pictures):
        size = (picture.pixels.shape[1], picture.pixels.shape[0])
        features = feature_map(entry.key, tokens[row], global_descriptors[row], grid, picture.size, size)
        image = ImageRef(
            key=entry.key,
            label=entry.label,
            path=entry.path,
            size=picture.size,
            encoded_size=size,
            grid=grid,
            bytes=picture.bytes,
            modified_ns=picture.modified_ns,
            sha256=picture.sha256,
        )
        encoded.append(EncodedImage(image, placed(features, rotation_deg, canvas), forward_ms))
    return encoded


def placed(features: FeatureMap, rotation_deg: float, canvas: tuple[int, int]) -> FeatureMap:
    """The map as that of a turned view on a canvas of (width, height) pixels; unchanged where nothing is turned."""
    return replace(features, rotation_deg=rotation_deg, canvas_size=canvas) if rotation_deg else features


def feature_map(
    key: str,
    tokens: NDArray[np.float32],
    global_descriptor: NDArray[np.float32],
    grid: tuple[int, int],
    image_size: tuple[int, int],
    encoded: tuple[int, int],
) -> FeatureMap:
    """Makes a full feature map from a graph's outputs: tokens [N, D] and global descriptor [D], not normalised.

    Raises:
        WorkError: values that are not finite, as half precision gives when activations overflow.
    """
    norms = np.linalg.norm(tokens, axis=1).astype(np.float32)
    global_norm = float(np.linalg.norm(global_descriptor))
    if not (np.isfinite(norms).all() and np.isfinite(global_norm)):
        raise WorkError(f"{key}: the graph gave values that are not finite; use another precision of this backbone")
    unit = tokens / np.maximum(norms, np.finfo(np.float32).tiny)[:, None]
    return FeatureMap(
        key=key,
        descriptors=unit.astype(np.float16),
        norms=norms,
        token_index=np.arange(len(tokens), dtype=np.int32),
        global_descriptor=(global_descriptor / max(global_norm, float(np.finfo(np.float32).tiny))).astype(np.float32),
        grid=grid,
        image_size=image_size,
        encoded_size=encoded,
    )
