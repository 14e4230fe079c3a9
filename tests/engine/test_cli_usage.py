"""Mistakes on the command line: a message that names the thing, the right exit code, and never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import COMMANDS, build_parser
from engine.naming import DEFAULT_REGEX

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "code", "named"),
    [
        ("", 2, ""),
        ("mach", 2, "Did you mean 'match'?"),
        ("match -a 999", 2, "'999'"),
        ("match -a 400.9", 2, "Nearest at altitude 400: 400.0002, 400.0001"),
        ("match -a C9:400", 2, "no flight 'C9'"),
        ("match -a :400", 2, "':400'"),
        ("match -a nowhere.jpg -b 400.1", 2, "nowhere.jpg"),
        ("match -a images -b 400.1", 2, "is a folder"),
        ("match -a 400.0001 -b 400.1", 2, "same photograph"),
        ("match -a", 2, "-a/--image-a: expected one argument"),
        ("match 400.0001", 2, "'400.0001'"),
        ("match -w vits61", 2, "Did you mean 'vits16'?"),
        ("match -w vitl16", 1, "vitl16-fp32.onnx"),
        ("match -w", 2, "-w/--weights"),
        ("match -w vits16 -g ViT_LVD1689M", 2, "-w and -g exclude each other"),
        ("match -g ViT", 2, "ViT_SAT493M"),
        ("match -g ViT_SAT493M", 1, "vitl16sat-fp32.onnx"),
        ("match -i 0", 2, "-i/--image-size: 0 is outside 16 to 16384"),
        ("match -i 3.5", 2, "'3.5' is not a whole number"),
        ("match -i 99999999999999999999", 2, "--image-size"),
        ("match -x 0", 2, "-x/--max-features: 0 is not 1 or more"),
        ("match -t 2", 2, "-t/--match-th: 2 is outside -1 to 1"),
        ("match -t nan", 2, "nan"),
        ("match -k -0.1", 2, "-k/--keypoint-th"),
        ("match -l 1.01", 2, "-l/--line-th"),
        ("match -l inf", 2, "-l/--line-th"),
        ("match --provider cudaa", 2, "Choose one of auto, cuda, cpu"),
        ("match --device cpu:1", 2, "cpu:1"),
        ("match --provider cuda:x", 2, "cuda:x"),
        ("match --provider coreml", 1, "CoreMLExecutionProvider is not part of"),
        ("match --matcher mutal_knn", 2, "Did you mean 'mutual_knn'?"),
        ("match --filter homografy", 2, "Did you mean 'homography'?"),
        ("match -M kk=3", 2, "Did you mean 'k'?"),
        ("match -M k=0", 2, "k must be 1 to 100"),
        ("match -M k=one", 2, "k must be a whole number"),
        ("match -M k", 2, "name=value"),
        ("match -M k=1 -M k=2", 2, "given twice"),
        ("match --matcher ratio_test -M ratoi=0.8", 2, "Did you mean 'ratio'?"),
        ("match --matcher ratio_test -M ratio=2", 2, "ratio must be 0.01 to 1.0"),
        ("match -F reprojth=3", 2, "Did you mean 'reproj_th'?"),
        ("match -F reproj_th=3 --reproj-th 4", 2, "given twice"),
        ("match --filter similarity --ransac-method cv2_usac_magsac", 2, "cv2_ransac, cv2_lmeds"),
        ("match --ransac-method magsac", 2, "cv2_usac_magsac"),
        ("match --reproj-th 0", 2, "engine: --reproj-th 0 with --filter homography: the value must be 0.01 to 10000"),
        (
            "match --confidence 1",
            2,
            "engine: --confidence 1 with --filter homography: the value must be 0.01 to 0.999999",
        ),
        (
            "match --ransac-method cv2_x",
            2,
            "engine: --ransac-method cv2_x with --filter homography: the value must be one of",
        ),
        ("match --reproj-th -3", 2, "--reproj-th"),
        ("match --reproj-unit metres", 2, "--reproj-unit"),
        ("match --iters 0", 2, "--iters"),
        (
            "match --filter off --reproj-th 16",
            2,
            "--reproj-th 16 with --filter off: there is no such option",
        ),
        ("match --match-t 0.3", 2, "Did you mean '--match-th'?"),
        ("match --regex (", 2, "--regex"),
        ("match --regex foo", 2, "(?P<alt>"),
        ("match --exts jpg", 1, "use --exts png"),
        ("match --tag a/b", 2, "--tag 'a/b'"),
        ("match --images nowhere", 1, "nowhere"),
        ("match --images images/A1_400/A1_400_0001.png", 1, "is a file, not a folder"),
        ("match --images empty", 1, "empty"),
        ("export", 2, "-w ALIAS"),
        ("export -w nope", 2, "no backbone is called 'nope'"),
        ("export -w vits16", 1, "WEIGHTS_ROOT"),
        ("export --all-weights", 1, "(WEIGHTS_ROOT): vits16, vits16+, "),
        ("export -w vits16 --all-weights", 2, "exclude each other"),
        ("embed -a 999", 2, "'999'"),
        ("embed -e", 2, "'-e'"),
        ("embed --provider tpu", 2, "tpu"),
        ("embed -i 15", 2, "--image-size"),
        ("vis --root nowhere", 1, "nowhere"),
        ("vis --ransac homografy", 2, "Did you mean 'homography'?"),
        ("plugins all", 2, "'all'"),
        ("demo --seed x", 2, "--seed"),
    ],
)
def test_mistakes(command, tmp_path: Path, line: str, code: int, named: str) -> None:
    (tmp_path / "empty").mkdir()
    words = line.split()
    if words[:1] in (["match"], ["embed"]) and "--exts" not in words and "empty" not in words:
        words += ["--exts", "png"]
    ran = command(*words)
    assert ran.code == code, ran.err
    assert named in ran.err
    assert len(ran.err) < 700, "an error is a few lines"
    assert not (tmp_path / "exports" / "pair_match").exists() or not list(tmp_path.rglob("exports/**/*.json"))


def test_a_wrong_option_is_found_before_any_work(match, tmp_path: Path) -> None:
    for wrong in (("--provider", "tpu"), ("--tag", "a*b"), ("-M", "q=1"), ("--ransac-method", "x")):
        ran = match(*wrong)
        assert ran.code == 2
        assert ran.out == ""


@pytest.mark.parametrize("variable", ["MATCH_ROOT", "EMBED_ROOT", "EXPORT_ROOT"])
def test_a_file_in_place_of_an_output_folder(match, tmp_path: Path, monkeypatch, variable: str) -> None:
    blocking = tmp_path / "a file"
    blocking.write_text("not a folder")
    monkeypatch.setenv(variable, str(blocking))
    ran = match("-e")
    assert ran.code == 1
    assert str(blocking) in ran.err
    assert "is a file where a folder is needed" in ran.err
    assert "inliers" not in ran.out
    assert blocking.read_text() == "not a folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_without_permission(match, tmp_path: Path, monkeypatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    monkeypatch.setenv("MATCH_ROOT", str(locked))
    ran = match()
    assert ran.code == 1
    assert "permission denied" in ran.err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system nobody can write to")
def test_a_folder_nobody_can_write_to(match, monkeypatch) -> None:
    monkeypatch.setenv("MATCH_ROOT", "/proc/dinov3")
    ran = match()
    assert ran.code == 1
    assert "cannot write /proc/dinov3" in ran.err
    assert "inliers" not in ran.out, "the work would be lost"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "cannot be loaded"),
        (b"hello", "cannot be loaded"),
        (None, "not a graph exported by this program"),
    ],
)
def test_a_graph_that_is_not_ours(match, tmp_path: Path, monkeypatch, content: bytes | None, named: str) -> None:
    import onnx

    path = write_tiny_graph(tmp_path / "graphs" / "vits16-fp32.onnx")
    if content is None:
        foreign = onnx.load(path)
        del foreign.metadata_props[:]
        onnx.save(foreign, path)
    else:
        path.write_bytes(content)
    monkeypatch.setenv("GRAPH_ROOT", str(path.parent))
    ran = match()
    assert ran.code == 1
    assert named in ran.err
    assert str(path) in ran.err


def test_values_that_are_not_finite(match, tmp_path: Path, monkeypatch) -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    path = write_tiny_graph(tmp_path / "graphs" / "vits16-fp32.onnx")
    graph = onnx.load(path)
    [kernel] = [tensor for tensor in graph.graph.initializer if tensor.name == "kernel"]
    shape = numpy_helper.to_array(kernel).shape
    kernel.CopyFrom(numpy_helper.from_array(np.full(shape, np.nan, np.float32), "kernel"))
    onnx.save(graph, path)
    monkeypatch.setenv("GRAPH_ROOT", str(path.parent))
    ran = match()
    assert ran.code == 1
    assert "not finite" in ran.err


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_help_shows_every_option_and_its_default(command, name: str) -> None:
    ran = command(name, "--help")
    assert ran.code == 0
    unwrapped = " ".join(ran.out.split())
    for action in build_parser()[1][name]._actions:
        for option in action.option_strings:
            assert option in ran.out
        default = action.default
        if isinstance(default, int | float | str) and not isinstance(default, bool) and default != "==SUPPRESS==":
            assert f"(default: {default})" in unwrapped, action.option_strings


def test_help_of_match_shows_the_defaults_of_plugins_and_names(command) -> None:
    from engine.dataset import DEFAULT_EXTS
    from plugins.robust import RobustOptions

    shown = " ".join(command("match", "--help").out.split())
    for name in ("reproj_th", "confidence", "iters"):
        assert f"(default: {getattr(RobustOptions(), name)})" in shown
    assert f"(default: {RobustOptions().ransac_method} where the filter supports it)" in shown
    assert f"(default: {' '.join(DEFAULT_EXTS)})" in shown
    assert DEFAULT_REGEX in shown


def test_help_lists_every_command(command) -> None:
    ran = command("--help")
    assert ran.code == 0
    for entry in COMMANDS:
        assert entry.name in ran.out


def _start(tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # A test run in the background of a shell ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _environment(tmp_path: Path, graph: Path) -> dict[str, str]:
    return {
        "IMG_ROOT": str(tmp_path / "images"),
        "EXPORT_ROOT": str(tmp_path / "exports"),
        "GRAPH_ROOT": str(graph.parent),
    }


def test_a_terminal_that_knows_no_korean(tmp_path: Path, data_set: Path, tiny_graph: Path) -> None:
    for number, name in enumerate(("하나.png", "둘.png"), 1):
        (data_set / "A1_400" / f"A1_400_000{number}.png").rename(tmp_path / name)
    environment = {**_environment(tmp_path, tiny_graph), "PYTHONIOENCODING": "ascii"}
    process = _start(tmp_path, "match", "-a", "하나.png", "-b", "둘.png", **environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "\\ud558\\ub098" in out
    assert len(list((tmp_path / "exports").rglob("*하나*둘.json"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_what_is_finished(tmp_path: Path, tiny_graph: Path, sent: int, code: int) -> None:
    for frame in range(9):
        write_photograph(tmp_path / "images" / f"A_400_{frame:04d}.jpg", texture(320, 320, frame))
    environment = _environment(tmp_path, tiny_graph)
    process = _start(tmp_path, "match", "-i", "640", "-x", "1600", **environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  400.0000 - 400.0003"):
            break
    process.send_signal(sent)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    assert "what was finished is kept" in err
    finished = list((tmp_path / "exports" / "pair_match").rglob("*.json"))
    assert 3 <= len(finished) < 9 * 8 // 2
    assert not list((tmp_path / "exports").rglob("*.partial*")), "nothing half-written stays"


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_option_of_help_stands_in_a_section_and_fits_the_terminal(command, name: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = command(name, "--help").out
    assert "\nother options:\n" not in page, "name the option's field in engine/cli_sections.py"
    if "--regex" in page:
        assert DEFAULT_REGEX in page, "it is not broken, so that it can be copied"
    assert max(map(len, page.splitlines())) <= 80
    assert page.startswith(f"usage: engine {name} [options]")
    assert page.rstrip().rpartition("\n")[2].startswith(f"  engine {name}"), "it ends with an example"
    for action in build_parser()[1][name]._actions:
        assert action.help, action.option_strings


def test_the_main_page_fits_the_terminal_and_names_the_first_steps(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = command("--help").out
    assert max(map(len, page.splitlines())) <= 80
    assert "engine demo " in page
    bare = command()
    assert (bare.code, bare.out) == (2, page)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--versoin", "Did you mean '--version'?"),
        ("matchs", "Did you mean 'match'?"),
        ("match --matchers mutual_knn", "Did you mean '--matcher'?"),
        ("match --Weights vits16", "Did you mean '--weights'?"),
        ("match -w VITS16", "Did you mean 'vits16'?"),
        ("match -g ViT_LVD168M", "Did you mean 'ViT_LVD1689M'?"),
        ("match --matcher Mutual_KNN", "Did you mean 'mutual_knn'?"),
        ("match --filter afine", "Did you mean 'affine'?"),
        ("match --precision fp23", "Did you mean 'fp32'?"),
        ("match --provider cdua", "Did you mean 'cuda'?"),
        ("match --provider CUDAExecutionProvide", "Did you mean 'CUDAExecutionProvider'?"),
        ("match --refine dens", "Did you mean 'dense'?"),
        ("match -a 401", "Did you mean 400?"),
        ("match -a 400_0001", "Did you mean 400.0001?"),
        ("match -a 400,0001", "Did you mean 400.0001?"),
        ("match -a 40O.0001", "Did you mean 400.0001?"),
        ("match -a A1_400_0001.jpg", "Did you mean A1_400/A1_400_0001.png?"),
        ("convert --to colamp --out x", "Did you mean 'colmap'?"),
        ("match --pairs retreival:3", "Did you mean 'retrieval'?"),
        ("match --pairs crossaltitude", "Did you mean 'cross-altitude'?"),
        ("match --ransac-method cv2_usac_magsak", "Did you mean 'cv2_usac_magsac'? See 'engine plugins'"),
        ("list -w vitl61", "Did you mean 'vitl16'?"),
    ],
)
def test_the_nearest_right_word(command, line: str, named: str) -> None:
    words = line.split()
    words += ["--exts", "png"] if words[0] == "match" else []
    ran = command(*words)
    assert ran.code == 2
    assert named in ran.err


def test_version_names_what_results_depend_on(command) -> None:
    from importlib import metadata

    ran = command("--version")
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0].startswith("dinov3-match ")
    assert lines[1].startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}.")
    installed = {entry.name.lower() for entry in metadata.distributions()}
    for name in ("numpy", "h5py", "pluggy", *({"openvino", "poselib", "transformers"} & installed)):
        assert f"{name} {metadata.version(name)}" in lines


def test_version_says_what_is_missing(command, monkeypatch) -> None:
    from engine import cli_version

    monkeypatch.setattr(cli_version, "version_of", lambda name: None)
    ran = command("--version")
    assert "onnxruntime: not installed" in ran.out
    assert "torch: not installed" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["match", "-a", "a b"], "To go on from there, the same again:\n  engine match -a 'a b'"),
        (["-v", "embed"], "To go on from there, the same again:\n  engine -v embed"),
        (["export", "--hf-token", "hf_abc"], "To start again:\n  engine export --hf-token '***'"),
        (["report"], "files already written are complete. To start again:\n  engine report"),
    ],
)
def test_a_stopped_command_says_how_to_go_on(monkeypatch, capsys, arguments: list[str], said: str) -> None:
    from engine import cli

    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", stop)
    assert cli.main(arguments) == 130
    assert said in capsys.readouterr().err
