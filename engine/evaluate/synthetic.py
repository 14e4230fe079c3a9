"""Synthetic pairs: two pictures cut from one photograph, with the truth known exactly, as a data set on disk.

The folder is a data set like any other, `<factor>_<100|101>/<factor>_<100|101>_<frame>.jpg`, with a truth file beside
it, so that every other command can be tried on it too.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.dataset import scan
from engine.errors import ImageReadError, UsageError, WorkError
from engine.evaluate.factors import FACTORS, Factor, Level, Setting, chance, draw_setting
from engine.evaluate.layout import Layout, lay_out
from engine.evaluate.photometry import Photometry, develop
from engine.evaluate.sampling import take_picture
from engine.evaluate.truth import Case, TruthEntry, find_cases
from engine.imaging import read_image
from engine.naming import PICTURE_EXTS, suffix_of, walk_files
from engine.progress import progress_bar
from engine.store.atomic import write_bytes, write_text

SMALLEST_SOURCE_PX = 1000
JPEG_QUALITY = 95
TRUTH_NAME = "truth.json"
MADE_BY = "engine evaluate --synthetic"
ALTITUDE_A, ALTITUDE_B = 100, 101
"""Labels only, and so near each other that they suggest no scale to a search that looks at altitudes."""
_QUICK_PAIRS = 2
_KEPT_SOURCES = 3
_OWN_FILE = re.compile(rf"[a-z]+_({ALTITUDE_A}|{ALTITUDE_B})_[0-9]+\.jpg")


@dataclass(frozen=True)
class Source:
    """A photograph that pairs are cut from: its path relative to the folder given, and (width, height) in pixels."""

    name: str
    path: Path
    size: tuple[int, int]


@dataclass(frozen=True)
class Sources:
    """Photographs of a folder: those large enough, and what is said of the others."""

    usable: tuple[Source, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A pair to be made."""

    number: int
    factor: Factor
    level: Level
    source: Source
    setting: Setting
    layout: Layout
    develop_seed: int

    @property
    def key_a(self) -> str:
        return f"{self.factor.name}:{ALTITUDE_A}.{self.number:04d}"

    @property
    def key_b(self) -> str:
        return f"{self.factor.name}:{ALTITUDE_B}.{self.number:04d}"

    def file(self, altitude: int) -> Path:
        """Path of a picture below the folder of all."""
        folder = f"{self.factor.name}_{altitude}"
        return Path(folder) / f"{folder}_{self.number:04d}.jpg"

    def about(self) -> dict[str, Any]:
        """What reports and the truth file say of the pair."""
        geometry, photometry = self.setting.geometry, self.setting.photometry
        return {
            "factor": self.factor.name,
            "level": self.level,
            "source": self.source.name,
            "overlap": round(self.layout.overlap, 6),
            "rotation_deg": geometry.rotation_deg,
            "scale": geometry.scale,
            "tilt_deg": geometry.tilt_deg,
            "stops": photometry.stops,
            "season": photometry.season,
            "blur_px": photometry.blur_px,
            "noise": photometry.noise,
            "source_px_per_px_a": self.layout.step_a,
            "source_px_per_px_b": self.layout.step_b,
        }


def find_sources(folder: Path) -> Sources:
    """The photographs below a folder, at any depth, in the order of their paths.

    Raises:
        WorkError: the folder is missing, or no photograph in it is large enough; the message says how large they are.
    """
    if not folder.is_dir():
        raise WorkError(f"--synthetic {folder}: there is no such folder. Give one with photographs to cut pairs from")
    usable, left_out = [], []
    for path in sorted(path for path in walk_files(folder) if suffix_of(path.name) in PICTURE_EXTS):
        name = path.relative_to(folder).as_posix()
        try:
            height, width = read_image(path).shape[:2]
        except ImageReadError as error:
            left_out.append(str(error))
            continue
        if min(width, height) < SMALLEST_SOURCE_PX:
            left_out.append(f"{name} has {width} x {height} px")
            continue
        usable.append(Source(name, path, (width, height)))
    if not usable:
        found = f"of {len(left_out)} picture(s) none will do ({left_out[0]})" if left_out else "there is no picture"
        raise WorkError(
            f"--synthetic {folder}: {found}. Pairs are cut from photographs of at least {SMALLEST_SOURCE_PX} px a side"
        )
    return Sources(tuple(usable), tuple(left_out))


def plan_pairs(
    sources: Sequence[Source], factors: Sequence[Factor], pairs_per_level: int, quick: bool, seed: int
) -> list[Plan]:
    """All pairs to be made, the same for the same arguments."""
    plans: list[Plan] = []
    for factor in factors:
        place = FACTORS.index(factor)
        count = (min(pairs_per_level, _QUICK_PAIRS) if quick else pairs_per_level) * factor.more
        for level in factor.quick_levels if quick else factor.levels:
            for index in range(count):
                rng = chance(factor, index, seed)
                setting = draw_setting(factor, level, rng)
                placed = (float(rng.uniform()), float(rng.uniform()))
                source = sources[(place + index) % len(sources)]
                layout = lay_out(setting.geometry, source.size, placed)
                plans.append(Plan(len(plans) + 1, factor, level, source, setting, layout, int(rng.integers(0, 2**32))))
    return plans


def make_pairs(plans: Sequence[Plan], folder: Path) -> list[Case]:
    """Writes the pictures and the truth file of planned pairs; replaces those of an earlier run.

    Raises:
        UsageError: the folder holds other files.
        WorkError: a file cannot be written, or a source read.
    """
    _clear(folder)
    write_text(folder / TRUTH_NAME, _truth_text(plans))
    for plan, pictures in progress_bar(_pictures(plans), len(plans), "pair made"):
        for altitude, picture in zip((ALTITUDE_A, ALTITUDE_B), pictures, strict=True):
            write_bytes(folder / plan.file(altitude), _jpeg(picture))
    entries = [TruthEntry(plan.key_a, plan.key_b, plan.layout.a_to_b) for plan in plans]
    found = find_cases(entries, scan(folder), folder / TRUTH_NAME)
    return [
        Case(case.pair, case.a_to_b, plan.layout.points_a_px, plan.about())
        for case, plan in zip(found, plans, strict=True)
    ]


def _pictures(plans: Sequence[Plan]) -> Iterator[tuple[Plan, tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    read = lru_cache(maxsize=_KEPT_SOURCES)(read_image)
    for plan in plans:
        yield plan, render(plan, read(plan.source.path))


def render(plan: Plan, source: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures a and b of a pair, [H, W, 3] uint8 RGB. Only b has changes of light, season and camera."""
    geometry = plan.setting.geometry
    rng = np.random.default_rng(plan.develop_seed)
    a = take_picture(source, plan.layout.a_to_source, geometry.size_a)
    b = take_picture(source, plan.layout.b_to_source, geometry.size_b)
    return develop(a, Photometry(), rng), develop(b, plan.setting.photometry, rng)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise WorkError("OpenCV could not encode a picture as JPEG: reinstall opencv-python-headless")
    return bytes(data.tobytes())


def _truth_text(plans: Sequence[Plan]) -> str:
    pairs = [
        {
            "a": plan.key_a,
            "b": plan.key_b,
            "homography_a_to_b": plan.layout.a_to_b.tolist(),
            **plan.about(),
        }
        for plan in plans
    ]
    about = (
        "Pairs cut from single photographs. homography_a_to_b maps pixel coordinates of image a to image b, exactly; "
        "the centre of the top-left pixel is (0, 0). The altitudes in the keys are labels only."
    )
    return json.dumps({"about": about, "made_by": MADE_BY, "pairs": pairs}, indent=1, ensure_ascii=False) + "\n"


def _clear(folder: Path) -> None:
    """Removes the pictures of an earlier run, known by their truth file; touches nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file where a folder is needed: choose another --out")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    truth = folder / TRUTH_NAME
    foreign = [path for path in files if path != truth and not _OWN_FILE.fullmatch(path.name)]
    if foreign or (files and not _is_ours(truth)):
        what = foreign[0] if foreign else files[0]
        raise UsageError(f"{folder} holds files that '{MADE_BY}' did not make ({what.name}): choose another --out")
    try:
        for path in files:
            if path != truth:
                path.unlink()
    except OSError as error:
        raise WorkError(f"{path} of an earlier run cannot be removed: {error.strerror}. Remove {folder}") from error


def _is_ours(truth: Path) -> bool:
    try:
        content = json.loads(truth.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("made_by") == MADE_BY
