"""The bundled backbone on real photographs: true pairs must stand out from wrong ones."""

import json
from itertools import product
from pathlib import Path

import pytest

from engine.cli import main
from models.bundled import bundled_graph

AERIAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "aerial"
TRUE_PAIRS = ("0001", "0004", "0005")
LEAST_RATIO = 1.8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AERIAL.is_dir(), reason=f"no photographs in {AERIAL}"),
    pytest.mark.skipif(not bundled_graph().is_file(), reason="the bundled graph is not there"),
]


@pytest.fixture(scope="module")
def inliers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], int]:
    """Homography inliers by the frames of a (400 m) and b (200 m)."""
    exports = tmp_path_factory.mktemp("acceptance")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EMBED_ROOT", "MATCH_ROOT", "GRAPH_ROOT", "VIS_ROOT"):
            patch.delenv(name, raising=False)
        patch.setenv("IMG_ROOT", str(AERIAL))
        patch.setenv("EXPORT_ROOT", str(exports))
        patch.chdir(exports)
        assert main(["match", "-a", "400", "-b", "200", "-i", "672", "--reproj-th", "16"]) == 0
    found = {}
    for path in (exports / "pair_match").rglob("*.json"):
        text = json.loads(path.read_text("utf-8"))
        frames = tuple(text["images"][side]["key"].split(".")[1] for side in "ab")
        found[frames] = text["verification"]["inlier_count"]
        assert text["verification"]["filter"] == "homography"
        assert text["verification"]["reproj_threshold"] == 16
        assert text["meta"]["image_size"] == 672
    return found


def test_every_pair_has_its_file(inliers: dict[tuple[str, str], int]) -> None:
    frames = [f"{number:04d}" for number in range(1, 7)]
    assert sorted(inliers) == sorted(product(frames, frames))


@pytest.mark.parametrize("frame", TRUE_PAIRS)
def test_true_pairs_stand_out(inliers: dict[tuple[str, str], int], frame: str) -> None:
    wrong = {pair: count for pair, count in inliers.items() if (pair[0] == frame) != (pair[1] == frame)}
    assert len(wrong) == 10
    strongest = max(wrong, key=lambda pair: wrong[pair])
    ratio = inliers[frame, frame] / max(1, wrong[strongest])
    assert ratio >= LEAST_RATIO, (
        f"{frame}: {inliers[frame, frame]}, but {strongest}: {wrong[strongest]} ({ratio:.2f} x)"
    )
