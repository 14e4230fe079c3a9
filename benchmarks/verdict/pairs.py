"""Pairs of pictures that do or do not show the same place, made from single photographs, to calibrate the verdict on.

True pairs are two views of one source: turned by any angle, scaled, tilted, in another light and season. False ones put
a of one source beside b of another, by preference of the same kind of land, as neighbours by name usually are. Some are
of plain pictures: uneven light and noise on one colour, where patches have nothing to go by but their position.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.dataset import scan
from engine.evaluate.factors import SIDE_PX, Factor, Ranges, chance, draw_setting
from engine.evaluate.layout import lay_out
from engine.evaluate.synthetic import Plan, Source, make_pairs
from engine.evaluate.truth import Case
from engine.imaging import read_image
from engine.naming import PICTURE_EXTS, suffix_of, walk_files
from engine.pairs import Pair
from engine.store.atomic import write_bytes

RANGES = Ranges(
    rotation_deg=(-180.0, 180.0),
    scale=(1 / 3, 3.0),
    tilt_deg=(0.0, 20.0),
    overlap=(0.4, 1.0),
    stops=(-1.0, 1.0),
    season=(0.0, 0.6),
    blur_px=(0.0, 1.5),
    noise=(0.0, 10.0),
    sizes_b=((SIDE_PX, SIDE_PX), (360, 640), (640, 360), (384, 512)),
)
_FACTOR = Factor("verdict", "", ("",), ("",), lambda setting, level: setting, RANGES)
MOSAIC_SIDE = 3
VIEWS_A_MOSAIC = 4
FALSE_STEPS = (1, 3)
"""The false partners of picture a of pair i are the pictures b of pairs i + 1 and i + 3."""
PLAIN_EVERY = 12
"""For so many true pairs there is one of plain pictures."""
PLAIN_A, PLAIN_B = 102, 103
"""Labels beside those of the synthetic pairs."""
_SEAM_PX = 8


@dataclass(frozen=True, eq=False)
class CalibrationPair:
    """A pair, and its true geometry where it shows one place."""

    pair: Pair
    truth: Case | None
    source: str


def make_calibration_pairs(photographs: Path, out: Path, seed: int, every: int = 1) -> list[CalibrationPair]:
    """Makes true and false pairs below `out`, so ordered that few photographs are needed at a time.

    Args:
        photographs: folder of pictures of single places.
        every: takes every so-many-th picture by name, from the first.
    """
    paths = sorted(path for path in walk_files(photographs) if suffix_of(path.name) in PICTURE_EXTS)[::every]
    sources = [_source(path, photographs) for path in paths]
    sources += [mosaic for mosaic in _mosaics(paths, out / "mosaics") for _ in range(VIEWS_A_MOSAIC)]
    sources.sort(key=lambda source: _kind(source.path))
    cases = make_pairs([_plan(number, source, seed) for number, source in enumerate(sources, 1)], out / "images")
    pairs = []
    for row, (case, source) in enumerate(zip(cases, sources, strict=True)):
        pairs.append(CalibrationPair(case.pair, case, source.name))
        for step in FALSE_STEPS:
            other = (row + step) % len(cases)
            if sources[other].path != source.path and not _share(source, sources[other]):
                pairs.append(CalibrationPair(Pair(case.pair.a, cases[other].pair.b), None, source.name))
    return pairs + _plain_pairs(len(cases) // PLAIN_EVERY, out / "plain", seed)


def _plan(number: int, source: Source, seed: int) -> Plan:
    rng = chance(_FACTOR, number, seed)
    setting = draw_setting(_FACTOR, "", rng)
    layout = lay_out(setting.geometry, source.size, (float(rng.uniform()), float(rng.uniform())))
    return Plan(number, _FACTOR, "", source, setting, layout, int(rng.integers(0, 2**32)))


def _source(path: Path, root: Path) -> Source:
    height, width = read_image(path).shape[:2]
    return Source(path.relative_to(root).as_posix(), path, (width, height))


def _kind(path: Path) -> str:
    """What names begin with: the kind of land in many sets of aerial tiles."""
    return re.split(r"[_\-\d]", path.stem, maxsplit=1)[0]


def _share(one: Source, other: Source) -> bool:
    """Whether a mosaic may hold the other picture: its name lists those that it was made of."""
    names = [set(source.path.stem.split("+")) for source in (one, other)]
    return bool(names[0] & names[1])


def _plain_pairs(count: int, folder: Path, seed: int) -> list[CalibrationPair]:
    """Pairs of pictures that show nothing: they are of no place, so not of one."""
    rng = np.random.default_rng([seed, PLAIN_A])
    for number in range(1, count + 1):
        for label in (PLAIN_A, PLAIN_B):
            name = f"plain_{label}"
            write_bytes(folder / name / f"{name}_{number:04d}.png", encoded_png(_plain(rng)))
    if not count:
        return []
    found = {entry.key: entry for entry in scan(folder, exts=["png"]).entries}
    return [
        CalibrationPair(Pair(found[f"{PLAIN_A}.{n:04d}"], found[f"{PLAIN_B}.{n:04d}"]), None, f"plain {n}")
        for n in range(1, count + 1)
    ]


def _plain(rng: np.random.Generator) -> NDArray[np.uint8]:
    """[S, S, 3] uint8: a colour with smooth shading of up to 12 grey levels and noise of up to 10."""
    shading = cv2.resize(rng.uniform(-1, 1, (4, 4)), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    picture = rng.uniform(60, 200, 3) + rng.uniform(0, 12) * shading[..., None]
    picture = picture + rng.normal(0, rng.uniform(0, 10), (SIDE_PX, SIDE_PX, 3))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def encoded_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture [H, W, 3] uint8 RGB as a file."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("OpenCV could not encode a picture")
    return bytes(data.tobytes())


def _mosaics(paths: list[Path], folder: Path) -> list[Source]:
    """Larger pictures made of tiles of one kind; their seams are blended over a few pixels."""
    made = []
    for _, group in groupby(paths, key=_kind):
        tiles = list(group)
        for start in range(0, len(tiles) - MOSAIC_SIDE**2 + 1, MOSAIC_SIDE**2):
            chosen = tiles[start : start + MOSAIC_SIDE**2]
            picture = _joined([read_image(path) for path in chosen])
            path = folder / f"{'+'.join(tile.stem for tile in chosen)}.png"
            write_bytes(path, encoded_png(picture))
            made.append(Source(path.name, path, (picture.shape[1], picture.shape[0])))
    return made


def _joined(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    side = min(min(tile.shape[:2]) for tile in tiles)
    step = side - _SEAM_PX
    total = step * MOSAIC_SIDE + _SEAM_PX
    ramp = np.minimum(np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)), _SEAM_PX + 1).astype(np.float32)
    weight = np.outer(ramp, ramp)[..., None]
    value, weights = np.zeros((total, total, 3), np.float32), np.zeros((total, total, 1), np.float32)
    for number, tile in enumerate(tiles):
        row, col = divmod(number, MOSAIC_SIDE)
        part = np.s_[row * step : row * step + side, col * step : col * step + side]
        value[part] += weight * tile[:side, :side]
        weights[part] += weight
    return np.asarray(np.rint(value / weights), np.uint8)
