"""The procedure of the earlier tool, written for the comparison: all anew for every pair, matched in Python loops."""

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.hooks import Runtime
from engine.imaging import encoded_size, read_image, resize


def seconds_a_pair(pairs: list[tuple[Path, Path]], runtime: Runtime, image_size: int, stride: int) -> float:
    """Mean seconds of a pair: both photographs decoded and encoded twice (tokens, class token), matched, verified."""
    started = time.perf_counter()
    for path_a, path_b in pairs:
        tokens_a, tokens_b = (_encoded(path, runtime, image_size, stride)[0] for path in (path_a, path_b))
        for path in (path_a, path_b):
            _encoded(path, runtime, image_size, stride)
        matched = _mutual_nearest(tokens_a, tokens_b)
        if len(matched) >= 4:
            points = np.array(matched, np.float64)
            cv2.findHomography(points[:, :1] * (stride, 1), points[:, 1:] * (stride, 1), cv2.RANSAC, 8.0)
    return (time.perf_counter() - started) / len(pairs)


def _encoded(
    path: Path, runtime: Runtime, image_size: int, stride: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pixels = read_image(path)
    size = encoded_size((pixels.shape[1], pixels.shape[0]), image_size, stride)
    tokens, whole = runtime(resize(pixels, size)[np.newaxis])
    return tokens[0] / np.linalg.norm(tokens[0], axis=1, keepdims=True), whole[0]


def _mutual_nearest(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[tuple[int, int]]:
    """One token at a time, as a loop."""
    nearest_of_a = [int(np.argmax(b @ token)) for token in a]
    nearest_of_b = [int(np.argmax(a @ token)) for token in b]
    return [(i, j) for i, j in enumerate(nearest_of_a) if nearest_of_b[j] == i]
