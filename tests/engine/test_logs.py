"""Log files, JSON events, -v and -q: what each holds, on real runs, and that nothing is said twice."""

import ast
import io
import json
import logging
import re
import sys
from datetime import datetime
from pathlib import Path

import pytest

from engine import progress
from engine.errors import WorkError
from engine.events import EVENTS, emit
from engine.logs import LoggedStream, LogOptions, logging_to, without_secrets
from engine.progress import ProgressLines, progress_bar, progress_line, warn

ROOT = Path(__file__).resolve().parents[2]


def events_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    assert (list(root.handlers), root.level) == before, "a run leaves logging as it was"


def test_a_run_as_json_events(match, tmp_path: Path) -> None:
    ran = match("--json-log", "run.jsonl")
    assert ran.code == 0
    events = events_of(tmp_path / "run.jsonl")
    names = [event["event"] for event in events]
    assert names[0] == "run_started"
    assert names[-1] == "run_finished"
    assert names.count("pair_matched") == 6
    for event in events:
        assert set(EVENTS[event["event"]].fields) <= set(event), event
        assert datetime.fromisoformat(event["time"]).utcoffset().total_seconds() == 0
    assert events[0]["command"] == "match"
    assert events[0]["arguments"] == ["match", "--exts", "png", "--json-log", "run.jsonl"]
    assert events[-1]["exit_code"] == 0
    written = [Path(event["path"]) for event in events if event["event"] == "file_written"]
    assert sorted(path for path in written if path.suffix == ".json") == sorted(
        (tmp_path / "exports" / "pair_match").rglob("*_*_*.json")
    )
    opened = next(event for event in events if event["event"] == "graph_opened")
    assert opened["provider"] == "CPUExecutionProvider"
    assert re.fullmatch("[0-9a-f]{64}", opened["sha256"])


def test_events_give_the_numbers_that_are_printed(match, tmp_path: Path) -> None:
    ran = match("-a", "400.1", "-b", "200.1", "--json-log", "run.jsonl")
    [event] = [event for event in events_of(tmp_path / "run.jsonl") if event["event"] == "pair_matched"]
    line = next(line for line in ran.out.splitlines() if line.startswith(f"  {event['a']} - {event['b']}:"))
    assert f"{event['matches']:4d} matches" in line
    assert f"{event['inliers']:4d} homography inliers" in line
    assert f"cosine {event['cosine']:.3f}" in line
    assert event["model"] is True


def test_a_failure_is_an_event_and_the_last_one_gives_the_exit_code(match, tmp_path: Path) -> None:
    ran = match("-a", "999", "--json-log", "run.jsonl")
    *_, error, finished = events_of(tmp_path / "run.jsonl")
    assert (error["event"], error["kind"], error["level"]) == ("error", "KeyNotFoundError", "error")
    assert f"engine: {error['message']}\n" == ran.err
    assert (finished["event"], finished["exit_code"]) == ("run_finished", ran.code) == ("run_finished", 2)


def test_a_photograph_that_cannot_be_read_is_an_event(match, tmp_path: Path) -> None:
    broken = tmp_path / "images" / "A1_400" / "A1_400_0001.png"
    broken.write_bytes(b"no picture")
    assert match("--json-log", "run.jsonl").code == 1
    [event] = [event for event in events_of(tmp_path / "run.jsonl") if event["event"] == "image_failed"]
    assert (event["key"], event["path"]) == ("400.0001", str(broken))


def test_embed_tells_each_photograph(command, tmp_path: Path) -> None:
    assert command("embed", "--exts", "png", "--json-log", "run.jsonl").code == 0
    keys = [event["key"] for event in events_of(tmp_path / "run.jsonl") if event["event"] == "image_encoded"]
    assert sorted(keys) == ["200.0001", "200.0002", "400.0001", "400.0002"]


def test_the_log_file_has_everything_with_times(match, tmp_path: Path) -> None:
    ran = match("-a", "400.1", "-b", "200.1", "--log-file", "deep/run.log")
    log = (tmp_path / "deep" / "run.log").read_text("utf-8")
    for line in log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) ", line), line
    for line in ran.out.splitlines():
        assert line in log, "what is printed is logged"
    assert " run_started command=" in log
    assert " DEBUG   pair_matched " in log
    assert " DEBUG   folders: Roots(" in log


def test_a_second_run_appends_and_a_failure_leaves_its_traceback(match, tmp_path: Path) -> None:
    match("-a", "400.1", "-b", "200.1", "--log-file", "run.log")
    first = (tmp_path / "run.log").read_text("utf-8")
    ran = match("-a", "999", "--log-file", "run.log")
    log = (tmp_path / "run.log").read_text("utf-8")
    assert log.startswith(first)
    assert "Traceback" in log
    assert "Traceback" not in ran.err
    assert log.count(ran.err.removeprefix("engine: ").strip()) == 2, "as the error, and in the traceback"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("export --hf-token hf_abc -w a/b", "export --hf-token *** -w a/b"),
        ("export --hf-token=hf_abc", "export --hf-token=***"),
        ("export --hf-token", "export --hf-token"),
        ("match -a token", "match -a token"),
    ],
)
def test_secrets_are_not_logged(given: str, shown: str) -> None:
    assert without_secrets(given.split()) == shown.split()


def test_quiet_prints_nothing_and_logs_all(match, tmp_path: Path) -> None:
    ran = match("-q", "--log-file", "run.log")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert "4 photographs, 6 pair(s)" in (tmp_path / "run.log").read_text("utf-8")


def test_quiet_still_shows_what_failed(match) -> None:
    ran = match("-q", "-a", "999")
    assert ran.out == ""
    assert "'999'" in ran.err


@pytest.mark.parametrize("flags", [("-v",), ("-vv",), ("-v", "-v")])
def test_verbose_shows_events_on_standard_error(match, flags: tuple[str, ...]) -> None:
    ran = match(*flags, "-a", "400.1", "-b", "200.1")
    assert "run_started" in ran.err
    assert ("pair_matched" in ran.err) == (len(flags) == 2 or flags == ("-vv",))
    assert "4 photographs" not in ran.err, "what is printed is not shown twice"
    assert "1 pair(s)" in ran.out


def test_options_of_logs_may_stand_in_front_of_the_command(command, tmp_path: Path) -> None:
    assert command("-q", "--json-log", "run.jsonl", "plugins").out == ""
    assert events_of(tmp_path / "run.jsonl")[0]["command"] == "plugins"


def test_a_log_that_cannot_be_written_is_an_error_before_any_work(match, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--log-file", "--json-log"):
        ran = match(option, "file/run.log")
        assert ran.code == 1
        assert f"{option} file" in ran.err
        assert ran.out == ""


def test_a_log_that_cannot_be_written_leaves_no_other_open(tmp_path: Path) -> None:
    with pytest.raises(WorkError), logging_to(LogOptions(log_file=str(tmp_path / "a.log"), json_log=str(tmp_path))):
        pass


def test_warnings_are_logged_once_and_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(LogOptions(1, False, str(tmp_path / "run.log"), str(tmp_path / "run.jsonl"))):
        warn("the sky is low")
        logging.getLogger("library").warning("of a %s", "library")
    assert capsys.readouterr().err.count("the sky is low") == 1
    assert (tmp_path / "run.log").read_text("utf-8").count("WARNING the sky is low") == 1
    assert [(event["event"], event["message"]) for event in events_of(tmp_path / "run.jsonl")] == [
        ("warning", "the sky is low"),
        ("warning", "of a library"),
    ]


def test_any_value_becomes_json(tmp_path: Path) -> None:
    import numpy as np

    with logging_to(LogOptions(json_log=str(tmp_path / "run.jsonl"))):
        emit("progress", what="사진", done=np.int64(3), total=np.float32(4), elapsed_s=0.5, path=tmp_path)
    [event] = events_of(tmp_path / "run.jsonl")
    assert (event["what"], event["done"], event["total"], event["path"]) == ("사진", 3, 4.0, str(tmp_path))


def test_bars_are_not_logged_as_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown = io.StringIO()
    stream = LoggedStream(shown)
    stream.write("\r  0%|   |\r 50%|#  |\r         \rdone\nnext")
    stream.write(" line\n\n")
    assert [record.getMessage() for record in caplog.records] == ["done", "next line"]
    assert shown.getvalue() == "\r  0%|   |\r 50%|#  |\r         \rdone\nnext line\n\n"
    assert stream.getvalue() == shown.getvalue(), "anything else is the stream's own"


def test_plain_lines_of_progress_come_at_most_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 3.0, 10.0, 19.9, 20.0, 31.0])
    lines = ProgressLines("pair", lambda: next(times), stage="match on CPU")
    for done in (1, 2, 3, 4, 6):
        lines(done, 8)
    assert capsys.readouterr().err.splitlines() == [
        "match on CPU, pair: 2 of 8 (25%) after 10 s, 0.2 a second, about 30 s left",
        "match on CPU, pair: 4 of 8 (50%) after 20 s, 0.2 a second, about 20 s left",
        "match on CPU, pair: 6 of 8 (75%) after 31 s, 0.194 a second, about 10 s left",
    ]


def test_progress_passes_everything_on_and_is_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with logging_to(LogOptions(quiet=True, json_log=str(tmp_path / "run.jsonl"))):
        assert list(progress_bar(iter("abc"), 3, "letter")) == ["a", "b", "c"]
    told = [(event["what"], event["done"], event["total"]) for event in events_of(tmp_path / "run.jsonl")]
    assert told == [("letter", 1, 3), ("letter", 2, 3), ("letter", 3, 3)]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (("pair", 0, 10, 12.0), "pair: 0 of 10 (0%) after 12 s"),
        (("pair", 12000, 12000, 5.0), "pair: 12,000 of 12,000 (100%) after 5 s, 2,400 a second"),
        (("pair", 10, 10, 75.0), "pair: 10 of 10 (100%) after 1 min 15 s, 0.133 a second"),
        (
            ("pair", 1200, 4950, 3700.0),
            "pair: 1,200 of 4,950 (24%) after 1 h 1 min, 0.324 a second, about 3 h 12 min left",
        ),
    ],
)
def test_a_line_of_progress(line: tuple[str, int, int, float], shown: str) -> None:
    assert progress_line(*line) == shown


def test_streams_are_as_before_after_a_run(match) -> None:
    before = (sys.stdout, sys.stderr)
    match("-q", "--log-file", "run.log")
    assert (sys.stdout, sys.stderr) == before


def test_every_event_in_the_program_is_one_of_the_table_with_its_fields() -> None:
    called: dict[str, set[str]] = {}
    for path in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "emit":
                name = ast.literal_eval(node.args[0])
                assert name in EVENTS, f"{path}: {name}"
                given = {keyword.arg for keyword in node.keywords}
                assert set(EVENTS[name].fields) <= given, f"{path}: {name}"
                called[name] = given
    assert set(called) == set(EVENTS)


def test_every_event_is_documented_as_it_is() -> None:
    page = (ROOT / "docs" / "logs.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    shown = {name: (tuple(re.findall(r"`(\w+)`", fields)), meaning) for name, fields, meaning in rows}
    assert shown == {name: (kind.fields, kind.meaning) for name, kind in EVENTS.items()}
