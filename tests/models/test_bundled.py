"""What ships: the graph is the one that the shipped checkpoint gives, and the verdict was calibrated on it."""

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from engine.graph_metadata import read_metadata
from engine.runtime import open_graph
from exporters.export import export_backbone
from models import contract
from models.bundled import bundled_checkpoint, bundled_graph
from models.catalogue import BUNDLED_ALIAS, backbone

SHAPES = ((1, 224, 320), (2, 96, 160))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    return export_backbone(backbone(BUNDLED_ALIAS), bundled_checkpoint(), folder).graph_path


def test_an_export_of_the_checkpoint_gives_what_the_shipped_graph_gives(exported: Path) -> None:
    shipped, made = open_graph(bundled_graph(), "cpu"), open_graph(exported, "cpu")
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        images = rng.integers(0, 256, (*shape, 3), np.uint8)
        for ours, theirs in zip(shipped(images), made(images), strict=True):
            assert ours.shape == theirs.shape
            assert float(np.abs(ours - theirs).max()) <= 1e-5


def test_the_shipped_graph_says_of_itself_what_an_export_of_today_says(exported: Path) -> None:
    shipped, made = read_metadata(bundled_graph()), read_metadata(exported)
    assert shipped.keys() == made.keys()
    own = {contract.KEY_VERSIONS, contract.KEY_VERIFICATION}
    for key in made.keys() - own:
        assert shipped[key] == made[key], key
    assert shipped[contract.KEY_CHECKPOINT_SHA256] == hashlib.sha256(bundled_checkpoint().read_bytes()).hexdigest()
    assert shipped[contract.KEY_CHECKPOINT_NAME] == bundled_checkpoint().name
    assert json.loads(shipped[contract.KEY_VERSIONS])["dinov3-match"][0].isdigit(), "a version, not 'not installed'"


def test_the_verdict_was_calibrated_on_the_shipped_graph() -> None:
    weights = json.loads((resources.files("engine.verdict") / "weights.json").read_text("utf-8"))
    digest = hashlib.sha256(bundled_graph().read_bytes()).hexdigest()
    assert digest in json.dumps(weights), "calibrate again: python -m benchmarks.verdict"
