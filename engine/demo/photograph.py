"""Photographs a scene from two altitudes at two dates, and writes the pictures and the true geometry as a data set."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.demo.camera import Look, Matrix, Picture, develop, sample
from engine.demo.scene import draw_scene
from engine.demo.season import AUTUMN, SUMMER, Season
from engine.errors import WorkError
from engine.store.atomic import write_bytes

PHOTO_SIZE = (1200, 900)
"""(width, height) of a photograph in pixels."""
FRAMES = 3
JPEG_QUALITY = 92
SCALE_A_TO_B = 2.0
"""a is taken from twice the height."""
SCENE_PX_A = 1.15
"""Scene pixels along one pixel of a photograph of the high flight."""
CELL = (1600, 1250)
"""(width, height) in scene pixels of the part of the scene that one frame shows; frames follow each other down."""
TRUTH_NAME = "truth.json"


@dataclass(frozen=True)
class Flight:
    """One flight: its identity in file names, its date, and its camera."""

    identity: str
    altitude: str
    season: Season
    look: Look

    def file_name(self, frame: int) -> str:
        """`<ID>_<ALT>/<ID>_<ALT>_<FRAME>.jpg`, relative to the data set."""
        stem = f"{self.identity}_{self.altitude}"
        return f"{stem}/{stem}_{frame:04d}.jpg"

    def key(self, frame: int) -> str:
        """The image key, `ALT.FRAME`."""
        return f"{self.altitude}.{frame:04d}"


FLIGHT_A = Flight(
    "250618103000",
    "400",
    SUMMER,
    Look(1.14, (0.99, 1.0, 1.01), 0.66, 0.10, (0.66, 0.72, 0.78), 0.12, 0.6, 0.010),
)
FLIGHT_B = Flight(
    "251104145500",
    "200",
    AUTUMN,
    Look(1.08, (1.04, 1.0, 0.93), 0.72, 0.05, (0.74, 0.73, 0.72), 0.16, 0.7, 0.013),
)


@dataclass(frozen=True, eq=False)
class TruePair:
    """Two photographs of the same place and the exact geometry between them.

    Attributes:
        key_a, key_b: image keys.
        path_a, path_b: the files.
        size_a, size_b: (width, height) in pixels.
        a_to_b: [3, 3] float64; pixels of a to pixels of b, pixel centres at integers.
    """

    key_a: str
    key_b: str
    path_a: Path
    path_b: Path
    size_a: tuple[int, int]
    size_b: tuple[int, int]
    a_to_b: Matrix


@dataclass(frozen=True, eq=False)
class Shot:
    """Where two photographs of one place look: [3, 3] maps from their pixels to scene pixels."""

    a_to_scene: Matrix
    b_to_scene: Matrix

    @property
    def a_to_b(self) -> Matrix:
        matrix = np.linalg.inv(self.b_to_scene) @ self.a_to_scene
        return np.asarray(matrix / matrix[2, 2])


def aim(frame: int, rng: np.random.Generator, size: tuple[int, int] = PHOTO_SIZE) -> Shot:
    """Aims both cameras at one part of the scene: b turned by any angle, from half the height, both tilted a little.

    Args:
        frame: 0 for the topmost part of the scene.
        size: (width, height) of the photographs; the part of the scene shrinks with it.
    """
    share = size[0] / PHOTO_SIZE[0]
    cell = np.array(CELL) * share
    centre = np.array([cell[0] / 2, cell[1] * (frame + 0.5)])
    angle_a = rng.uniform(-4.0, 4.0)
    angle_b = angle_a + rng.uniform(-180.0, 180.0)
    offset = rng.uniform(-70.0, 70.0, 2) * share
    a_to_scene = _view(centre, angle_a, SCENE_PX_A, rng.uniform(-0.004, 0.004, 2), size)
    b_to_scene = _view(centre + offset, angle_b, SCENE_PX_A / SCALE_A_TO_B, rng.uniform(-0.012, 0.012, 2), size)
    return Shot(a_to_scene, b_to_scene)


def aim_all(seed: int, size: tuple[int, int] = PHOTO_SIZE, frames: int = FRAMES) -> list[Shot]:
    """Where the photographs of a scene look, from the topmost part down. Arguments as `make_data_set`."""
    return [aim(frame, np.random.default_rng([seed, 20, frame]), size) for frame in range(frames)]


def _view(centre: Matrix, angle_deg: float, scene_px: float, tilt: Matrix, size: tuple[int, int]) -> Matrix:
    """Map from pixels of a photograph to the scene: its middle to `centre`, `scene_px` scene pixels a pixel there.

    `tilt` is the change of the projective denominator from the middle to the right and to the lower side.
    """
    middle = (np.array(size) - 1) / 2
    to_middle = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1.0]])
    projective = np.array([[1, 0, 0], [0, 1, 0], [tilt[0] / middle[0], tilt[1] / middle[1], 1.0]])
    cos, sin = np.cos(np.deg2rad(angle_deg)) * scene_px, np.sin(np.deg2rad(angle_deg)) * scene_px
    turn = np.array([[cos, -sin, centre[0]], [sin, cos, centre[1]], [0, 0, 1.0]])
    return np.asarray(turn @ projective @ to_middle)


def make_data_set(
    folder: Path, seed: int, *, size: tuple[int, int] = PHOTO_SIZE, frames: int = FRAMES
) -> list[TruePair]:
    """Renders and photographs a scene; writes both flights and `truth.json` below `folder`.

    Args:
        folder: made when it is not there; files of an earlier demonstration in it are replaced.
        seed: the same seed gives the same pictures.
        size: (width, height) of the photographs in pixels.

    Raises:
        WorkError: a file cannot be written.
    """
    scene_size = (CELL[0] * size[0] // PHOTO_SIZE[0], CELL[1] * size[0] // PHOTO_SIZE[0] * frames)
    scene = draw_scene(scene_size, seed)
    shots = aim_all(seed, size, frames)
    for number, flight in enumerate((FLIGHT_A, FLIGHT_B)):
        rendered = scene.render(flight.season)
        for frame, shot in enumerate(shots, start=1):
            view = (shot.a_to_scene, shot.b_to_scene)[number]
            grain = np.random.default_rng([seed, 21, number, frame])
            _photograph(rendered, view, size, flight.look, grain, folder / flight.file_name(frame))
    pairs = [
        TruePair(
            FLIGHT_A.key(frame),
            FLIGHT_B.key(frame),
            folder / FLIGHT_A.file_name(frame),
            folder / FLIGHT_B.file_name(frame),
            size,
            size,
            shot.a_to_b,
        )
        for frame, shot in enumerate(shots, start=1)
    ]
    write_bytes(folder / TRUTH_NAME, _truth_text(pairs, seed).encode())
    return pairs


def _photograph(
    rendered: Picture, view: Matrix, size: tuple[int, int], look: Look, grain: np.random.Generator, path: Path
) -> None:
    stored = develop(sample(rendered, view, size), look, grain)
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(stored, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise WorkError(f"{path}: the picture could not be encoded as JPEG")
    write_bytes(path, jpeg.tobytes())


def _truth_text(pairs: list[TruePair], seed: int) -> str:
    about = (
        f"Photographs of a scene rendered with seed {seed}, at two dates. homography_a_to_b maps pixel coordinates of "
        "image a to image b; the centre of the top-left pixel is (0, 0). Exact."
    )
    entries = [{"a": pair.key_a, "b": pair.key_b, "homography_a_to_b": pair.a_to_b.tolist()} for pair in pairs]
    return json.dumps({"about": about, "pairs": entries}, indent=1) + "\n"
