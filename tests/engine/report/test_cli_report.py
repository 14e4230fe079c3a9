"""`engine report` from the command line: where it writes, what it says, and how it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from report_samples import small_run
from test_report_write import stored_run

from engine.cli import main
from engine.store.result_json import result_path, write_result
from engine.vis import picture_path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG_ROOT", str(tmp_path / "images"))
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))
    monkeypatch.setenv("MATCH_ROOT", str(tmp_path / "match"))
    monkeypatch.setenv("EMBED_ROOT", str(tmp_path / "embeds"))
    return tmp_path


def test_a_stored_run_is_reported(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored_run(environment)
    assert main(["report", "--pictures", "1"]) == 0
    said = capsys.readouterr().out
    index = environment / "exports" / "report" / "index.html"
    assert index.is_file()
    assert said.splitlines()[-1] == f"report: {index}"
    assert "9 pair(s) of 6 photographs, 9 with a page of their own" in said
    assert len(list((index.parent / "files").rglob("*.png"))) == 1
    assert len(list((index.parent / "files").rglob("*.json"))) == 9
    assert len(list((index.parent / "data" / "tokens").iterdir())) == 2, "found below EMBED_ROOT"


def test_result_files_alone_are_reported(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored_run(environment)
    for path in (environment / "match").rglob("*.h5"):
        path.unlink()
    assert main(["report", "--out", "here"]) == 0
    assert "reporting its 9 result file(s)" in capsys.readouterr().out
    assert (environment / "here" / "index.html").is_file()


def test_files_are_those_of_the_run_whatever_lies_at_their_places(environment: Path) -> None:
    run, source = stored_run(environment)
    pair = next(source.pairs()).result
    file = result_path(environment / "match", "vits16", pair.image_a.label, pair.image_b.label)
    written = file.read_bytes()
    other = replace(run, settings=replace(run.settings, match_threshold=0.5))
    write_result(file, replace(pair, similarity=pair.similarity / 2), other)
    picture = picture_path(file, environment / "exports" / "pair_viz")
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"drawn with other options")
    assert main(["report", "--pictures", "1"]) == 0
    reported = environment / "exports" / "report" / "files" / "0"
    assert (reported / file.name).read_bytes() == written
    drawn = cv2.imread(str(reported / f"{file.stem}.png"))
    assert drawn is not None
    assert drawn.shape[1] > 1000
    assert picture.read_bytes() == b"drawn with other options"


def test_no_results_is_a_clear_error(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 1
    said = capsys.readouterr().err
    assert "engine match" in said
    assert "Traceback" not in said
    assert not (environment / "exports").exists()


def test_an_unknown_run_lists_those_there_are(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored_run(environment)
    assert main(["report", "--run", "ffff"]) == 2
    assert "vits16, 144 px" in capsys.readouterr().err


def test_the_newest_of_several_runs_is_reported(match: Any, command: Any, tmp_path: Path) -> None:
    """The commands of the README, one after the other."""
    assert match("-i", "160", "-a", "400.0001", "-b", "200.0001").code == 0
    assert match("-i", "160", "-a", "400", "-b", "200", "--rotations", "4", "--scales", "auto").code == 0
    ran = command("report", "--pictures", "0")
    assert ran.code == 0, ran.err
    assert "4 pair(s) of 4 photographs" in ran.out
    said = ran.out.splitlines()
    assert said[0].startswith("the newest of 2 stored runs, ")
    assert "rotations 4, scales 1 0.5 2, refine none, 4 pair(s), " in said[0]
    assert "rotations 1, scales 1, 1 pair(s), " in said[2]
    older = said[2].split(":")[0].strip()
    ran = command("report", "--pictures", "0", "--run", older[:8])
    assert (ran.code, "1 pair(s) of 2 photographs" in ran.out, "newest of" in ran.out) == (0, True, False)


def test_feature_maps_that_are_not_stored_are_made_anew(
    match: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert match("-i", "160", "-a", "400.0001", "-b", "200.0001", "--rotations", "4").code == 0
    ran = command("report", "--pictures", "0", "-o", "made")
    assert ran.code == 0, ran.err
    assert "feature maps are not stored; encoding with" in ran.out
    assert len(list((tmp_path / "made" / "data" / "tokens").iterdir())) == 2
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "nowhere"))
    ran = command("report", "--pictures", "0", "-o", "without")
    assert ran.code == 0, ran.err
    assert "its feature maps are not stored" in ran.err
    assert not (tmp_path / "without" / "data" / "tokens").exists()


def test_stored_feature_maps_are_those_that_would_be_made(match: Any, command: Any, tmp_path: Path) -> None:
    arguments = ("-i", "160", "-a", "400.0001", "-b", "200.0001", "--rotations", "4")
    assert match(*arguments).code == 0
    assert command("report", "--pictures", "0", "-o", "made").code == 0
    assert match("-e", *arguments, "--tag", "stored").code == 0
    ran = command("report", "--pictures", "0", "-o", "stored", "--tag", "stored")
    assert "encoding" not in ran.out
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "data" / "tokens").iterdir()}
        for name in ("made", "stored")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_a_mistyped_backbone_is_recognised(match: Any, command: Any) -> None:
    assert match("-i", "160", "-a", "400.0001", "-b", "200.0001").code == 0
    ran = command("report", "-w", "vits61")
    assert (ran.code, "Did you mean 'vits16'?" in ran.err) == (2, True)


def test_a_tag_names_the_results_and_the_report(match: Any, command: Any, tmp_path: Path) -> None:
    assert match("-i", "160", "-a", "400.0001", "-b", "200.0001", "--tag", "trial").code == 0
    ran = command("report", "--pictures", "0", "--tag", "trial")
    assert ran.code == 0, ran.err
    assert (tmp_path / "exports" / "report-trial" / "index.html").is_file()
    assert command("report").code == 1
    assert command("report", "--tag", "trial", "--root", "somewhere").code == 2


def test_a_folder_of_other_things_is_refused_before_any_work(
    environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_run(environment)
    assert main(["report", "--out", str(environment / "images")]) == 2
    assert "left alone" in capsys.readouterr().err
    assert (environment / "images" / "F_400" / "F_400_0001.jpg").is_file()
