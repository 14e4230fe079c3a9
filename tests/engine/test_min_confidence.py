"""`--min-confidence`: which pairs get a JSON file, what the store keeps, and what the command prints."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import main
from engine.store.matches_h5 import MatchStore

MATCH = ["match", "--exts", "png", "-a", "400", "-b", "200", "-i", "320", "--images", "images"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs of one place, the second a little moved, and one of another place."""
    ground = texture(400, 560)
    write_photograph(tmp_path / "images/A_400/A_400_0001.png", ground[:320, :480])
    write_photograph(tmp_path / "images/B_200/B_200_0001.png", np.ascontiguousarray(ground[16:336, 32:512]))
    noise = np.random.default_rng(5).integers(0, 255, (320, 480, 3), np.uint8)
    write_photograph(tmp_path / "images/B_200/B_200_0002.png", noise)
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))
    write_tiny_graph(tmp_path / "exports/dinov3_graphs/vits16-fp32.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "exports/pair_match").rglob("*.json"))


def test_the_verdict_is_printed_and_in_both_kinds_of_files(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(MATCH) == 0
    out = capsys.readouterr().out
    assert "A:400.0001" not in out
    lines = {line.split(":")[0].strip(): line for line in out.splitlines() if " inliers" in line or "no model" in line}
    assert ": same place 0.9" in lines["400.0001 - 200.0001"]
    assert ": other place 0." in lines["400.0001 - 200.0002"]
    (shard,) = (places / "exports").rglob("matches-*.h5")
    for result in MatchStore(shard.parent).results():
        label = f"vits16_{result.image_a.label}_{result.image_b.label}.json"
        (path,) = (places / "exports").rglob(label)
        assert result.verdict is not None
        assert json.loads(path.read_text(encoding="utf-8"))["verdict"] == json.loads(
            json.dumps(result.verdict.as_json())
        )


def test_pairs_below_have_no_file_until_a_run_without_the_option(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, other = "vits16_400.0001_200.0001.json", "vits16_400.0001_200.0002.json"
    assert main([*MATCH, "--min-confidence", "0.5"]) == 0
    assert files(places) == [same]
    assert "1 pair(s) below --min-confidence have no JSON file" in capsys.readouterr().out
    (shard,) = (places / "exports").rglob("matches-*.h5")
    assert len(list(MatchStore(shard.parent).results())) == 2

    assert main([*MATCH, "--min-confidence", "0.5"]) == 0
    assert files(places) == [same]
    assert main(MATCH) == 0
    assert files(places) == [same, other]
    assert main([*MATCH, "--min-confidence", "0.5"]) == 0
    assert files(places) == [same]
    assert len(list((places / "exports").rglob("matches-*.h5"))) == 1, "nothing was matched again"


def test_it_needs_a_geometry(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MATCH, "--filter", "off", "--min-confidence", "0.5"]) == 2
    assert "--filter off looks for none" in capsys.readouterr().err
    assert main([*MATCH, "--min-confidence", "1.5"]) == 2
