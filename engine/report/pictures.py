"""Reduced copies and thumbnails of the photographs, so that a report can be moved to where the photographs are not."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import DataSetError, ImageReadError, WorkError
from engine.imaging import read_image
from engine.photographs import Photographs
from engine.progress import progress_bar
from engine.report.folder import ReportFolder
from engine.report.listing import ListedImage

COPY_LONGEST_PX = 1600
THUMB_LONGEST_PX = 192
_COPY_QUALITY, _THUMB_QUALITY = 86, 74
_WORKERS = 4


@dataclass(frozen=True)
class Problem:
    """Something missing in a report.

    Attributes:
        text: what and why, in English.
        code: what the pages call it in other languages, `problem_<code>`; empty where they have no words for it.
        values: what stands in those words.
    """

    text: str
    code: str = ""
    values: dict[str, str] = field(default_factory=dict)


_Made = tuple[int, dict[str, bytes] | Problem]


@dataclass
class PictureOutcome:
    """Which photographs have pictures in the report.

    Attributes:
        present: rows of the images that have a thumbnail (and a copy, where one was asked for).
        problems: one per photograph that is missing, unreadable or of another size than when it was matched.
    """

    present: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def thumb_name(row: int) -> str:
    """Path of a thumbnail within the report. Names hold numbers only: nothing of a user's file name."""
    return f"thumbs/{row:05d}.jpg"


def copy_name(row: int) -> str:
    """Path of a reduced copy within the report."""
    return f"images/{row:05d}.jpg"


def write_pictures(
    images: list[ListedImage], with_copy: set[int], photographs: Photographs, folder: ReportFolder
) -> PictureOutcome:
    """Writes a thumbnail of every photograph, and a copy of those in `with_copy`; a missing photograph is no error.

    Raises:
        WriteError: a picture cannot be written.
    """
    outcome = PictureOutcome()
    paths: dict[int, Path] = {}
    for row, image in enumerate(images):
        try:
            paths[row] = photographs.find(str(image.ref.path), image.ref.key)
        except DataSetError as error:
            outcome.problems.append(Problem(str(error), "missing", {"file": file_name(image.ref.path)}))

    def make(row: int) -> _Made:
        try:
            pixels = read_image(paths[row])
        except ImageReadError as error:
            return row, Problem(str(error), "unreadable", {"file": file_name(images[row].ref.path)})
        altered = _altered(paths[row], (pixels.shape[1], pixels.shape[0]), images[row].ref.size)
        return row, altered or _reduced(pixels, row, row in with_copy)

    for row, made in progress_bar(_in_threads(make, list(paths)), len(paths), "photograph"):
        if isinstance(made, Problem):
            outcome.problems.append(made)
            continue
        for name, data in made.items():
            folder.write(name, data)
        outcome.present.add(row)
    return outcome


def _in_threads(make: Callable[[int], _Made], rows: list[int]) -> Iterator[_Made]:
    """Results in the order of `rows`, a few ahead of the reader: decoded photographs are large."""
    workers = min(_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Made]] = deque()
        try:
            for row in rows:
                waiting.append(pool.submit(make, row))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _altered(path: Path, found: tuple[int, int], before: tuple[int, int]) -> Problem | None:
    if found == before:
        return None
    text = (
        f"the photograph {path} has {found[0]} x {found[1]} pixels, but had {before[0]} x {before[1]} when it was "
        "matched. Restore it, or match its pairs again"
    )
    sizes = {name: f"{width} × {height}" for name, (width, height) in (("found", found), ("before", before))}
    return Problem(text, "size", {"file": file_name(path), **sizes})


def file_name(recorded: Path) -> str:
    """The last part of a path in the notation of whichever system recorded it."""
    return re.split(r"[\\/]", str(recorded))[-1]


def _reduced(pixels: NDArray[np.uint8], row: int, with_copy: bool) -> dict[str, bytes]:
    reduced = _shrink(pixels, COPY_LONGEST_PX)
    made = {thumb_name(row): _jpeg(_shrink(reduced, THUMB_LONGEST_PX), _THUMB_QUALITY)}
    if with_copy:
        made[copy_name(row)] = _jpeg(reduced, _COPY_QUALITY)
    return made


def _shrink(pixels: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise WorkError("OpenCV could not encode a picture as JPEG: its build lacks the JPEG codec")
    return bytes(data.tobytes())
