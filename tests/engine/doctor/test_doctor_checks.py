"""Single checks of `engine doctor` on machines that this one is not, from what their programs and files say."""

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from conftest import write_tiny_graph

from engine.doctor import gpu, libraries, packages, sessions
from engine.doctor.checks import check_plugins
from engine.doctor.dotenv_traps import dotenv_traps
from engine.doctor.finding import Finding, Section, Status, ok, problem, warning, worst
from engine.doctor.folders import judge_space
from engine.doctor.page import conclusion, section_text, verdict
from engine.doctor.place import is_wsl
from engine.doctor.trial import placed_operators
from engine.doctor.weights import check_checkpoints, check_graphs, check_names
from engine.errors import PluginError
from engine.plugin_registry import load_registry
from models.catalogue import BACKBONES
from plugins import BUILTINS

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 13, 5), "ok"), ((3, 14, 0), "problem")],
)
def test_versions_of_python(version: tuple[int, int, int], status: str) -> None:
    assert packages.check_python(version).status == status


def test_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "NEEDED", {**packages.NEEDED, "no_such_package": ("no-such",)})
    *_, broken = packages.check_needed()
    assert broken.status is Status.PROBLEM
    assert "No module named 'no_such_package'" in broken.text
    assert broken.advice == "pip install --force-reinstall no-such"


def test_two_builds_of_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import install_check

    monkeypatch.setattr(
        install_check, "_version", lambda name: {"onnxruntime": "1.32", "onnxruntime-gpu": "1.31"}.get(name)
    )
    found = packages.check_runtime_build()
    assert found.status is Status.PROBLEM
    assert found.text == (
        "onnxruntime 1.32 and onnxruntime-gpu 1.31 are installed together and overwrite each other's files."
    )
    assert found.advice.startswith(
        "Uninstall all of them, pip uninstall onnxruntime onnxruntime-gpu, then install one: "
    )


@pytest.fixture
def provider_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the string table of a provider built for CUDA 12."""
    path = tmp_path / "libonnxruntime_providers_cuda.so"
    names = [b"libcublasLt.so.12", b"libcublas.so.12", b"libcudnn.so.9", b"libcudart.so.12", b"libm.so.6"]
    path.write_bytes(b"\x7fELF" + bytes(100) + b"\0".join(names) + b"\0" + b"libcudnn.so.9\0" + bytes(50))
    monkeypatch.setattr(libraries, "cuda_provider_file", lambda: path)
    return path


def test_libraries_are_named_by_the_provider_itself(provider_file: Path) -> None:
    wanted = libraries.wanted_libraries(provider_file)
    assert wanted == ["libcublasLt.so.12", "libcublas.so.12", "libcudnn.so.9", "libcudart.so.12"]


def test_missing_libraries_are_named(provider_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_library", lambda name: None if "cudnn" in name else f"/lib/{name}")
    [found] = libraries.check_libraries()
    assert found.status is Status.PROBLEM
    assert found.text == "missing: libcudnn.so.9 (3 of 4 found)"


def test_libraries_that_are_all_there(provider_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_library", lambda name: f"/lib/{name}")
    [found] = libraries.check_libraries()
    assert found.status is Status.OK
    assert found.text.startswith("all 4 found: ")


def test_a_library_in_a_wheel_of_nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert libraries.find_library("libcudnn.so.9") == str(library)
    assert libraries.find_library("libno_such_library.so.9") is None


def test_lines_of_nvidia_smi() -> None:
    line = "NVIDIA GeForce RTX 4070, 552.44, 12282, 11010, 8.9"
    assert gpu.parse_gpu(line) == gpu.Gpu("NVIDIA GeForce RTX 4070", "552.44", 12282, 11010, "8.9")
    assert gpu.parse_gpu("NVIDIA GB10, 580.95, [N/A], [N/A], 12.1").total_mib == 0
    assert gpu.parse_gpu("NVIDIA-SMI has failed") is None


@pytest.mark.parametrize(
    ("cuda_build", "driver", "gpus", "statuses"),
    [
        (False, None, [], ["ok"]),
        (True, None, [], ["warning"]),
        (True, gpu.CudaDriver("12.4"), ["A, 550.1, 24000, 23000, 8.6"], ["ok", "ok"]),
        (False, gpu.CudaDriver("12.4"), ["A, 550.1, 24000, 23000, 8.6"], ["ok", "ok", "warning"]),
        (True, gpu.CudaDriver("12.4"), ["A, 550.1, 24000, 1000, 8.6"], ["ok", "warning"]),
        (True, gpu.CudaDriver("12.4", "does not start"), ["A, 550.1, 24000, 23000, 8.6"], ["problem", "ok"]),
        (True, gpu.CudaDriver("12.4"), [], ["ok", "warning"]),
    ],
)
def test_drivers_and_gpus(monkeypatch, cuda_build: bool, driver, gpus: list[str], statuses: list[str]) -> None:
    monkeypatch.setattr(gpu, "cuda_driver", lambda: driver)
    monkeypatch.setattr(gpu, "query_gpus", lambda: ([gpu.parse_gpu(line) for line in gpus], "there is no nvidia-smi"))
    assert [found.status.value for found in gpu.check_gpu(cuda_build)] == statuses


def test_nvidia_smi_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 9, "NVIDIA-SMI has failed because it could not talk to the driver\n", "")
    monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: failed)
    gpus, why = gpu.query_gpus()
    assert gpus == []
    assert why == "nvidia-smi: NVIDIA-SMI has failed because it could not talk to the driver"


def told(first: str = CUDA, here: int = 200, left: int = 3, cosine: float = 0.99999, **more: str) -> dict:
    operators = {CUDA: {"MatMul": here}} | ({CPU: {"Shape": left}} if left else {})
    return {"first": first, "operators": operators, "cosine": cosine, "said": "", **more}


@pytest.mark.parametrize(
    ("trial", "status", "said"),
    [
        (told(), "ok", "runs, 200 operators there, 3 left to the CPU (3 Shape); tokens as the CPU's (cosine 0.99999)"),
        (told(left=0), "ok", "runs, 200 operators there, 0 left to the CPU; tokens as the CPU's (cosine 0.99999)"),
        (told(cosine=0.5), "problem", "WRONG RESULTS: tokens differ from the CPU's (smallest cosine 0.5000)"),
        (told(cosine=float("nan")), "problem", "WRONG RESULTS: tokens differ from the CPU's (smallest cosine nan)"),
        (told(here=0), "warning", "runs, 0 operators there, 3 left to the CPU (3 Shape)"),
        (
            told(first=CPU, said="[E] Failed to load libcudnn.so.9\n"),
            "warning",
            f"does not start, ONNX Runtime took {CPU}. [E] Failed to load libcudnn.so.9",
        ),
        ({"error": "the process ended with signal SIGSEGV: core dumped"}, "warning", "does not run: the process ended"),
    ],
)
def test_what_a_trial_on_a_gpu_means(trial: dict, status: str, said: str) -> None:
    found = sessions.judge("cuda", CUDA, trial)
    assert (found.name, found.status.value) == ("on cuda", status)
    assert found.text.startswith(said)


def test_a_cpu_that_does_not_run_is_a_problem() -> None:
    assert sessions.judge("cpu", CPU, {"error": "an illegal instruction"}).status is Status.PROBLEM


def test_a_provider_that_is_not_there_is_told_by_the_process_of_its_own() -> None:
    assert "MIGraphXExecutionProvider is not part of" in sessions.run_trial("MIGraphXExecutionProvider")["error"]


def test_a_process_that_dies_is_told_with_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess([], -11, "", "loading\nSegmentation fault\n")
    monkeypatch.setattr(sessions.subprocess, "run", lambda *_, **__: died)
    assert sessions.run_trial(CUDA) == {"error": "the process ended with signal SIGSEGV: Segmentation fault"}


def test_operators_of_a_profile_are_counted_once() -> None:
    def node(name: str, provider: str, op: str, cat: str = "Node") -> dict:
        return {"cat": cat, "name": name, "args": {"provider": provider, "op_name": op}}

    profile = [
        node("a_kernel_time", CUDA, "MatMul"),
        node("a_fence_before", CUDA, "MatMul"),
        node("b_kernel_time", CUDA, "MatMul"),
        node("c_kernel_time", CPU, "Shape"),
        node("run", CUDA, "MatMul", cat="Session"),
        {"cat": "Node", "name": "d_kernel_time"},
    ]
    assert placed_operators(profile) == {CUDA: {"MatMul": 2}, CPU: {"Shape": 1}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"IMG_ROOT=/a\n", []),
        (b"IMG_ROOT=/a\r\n", ["CRLF"]),
        (b"\xef\xbb\xbfIMG_ROOT=/a\n", ["byte order mark"]),
        ("IMG_ROOT=/a\n".encode("utf-16"), ["UTF-16"]),
        (b'DATASET_HOST="D:\\new"\n', ["backslash inside"]),
        (b"DATASET_HOST=D:\\new\n", []),
        (b"DATASET_HOST=D:new\n", ["no slash after the drive's colon"]),
        (b"CODE_HOST=   # a clone\nIMG_ROOT=/a # photographs\n", ["CODE_HOST is empty"]),
    ],
)
@pytest.mark.skipif("sys.platform == 'win32'", reason="CRLF is no trap there")
def test_traps_of_settings_files(data: bytes, said: list[str]) -> None:
    found = list(dotenv_traps(Path(".env"), data))
    assert len(found) == len(said)
    assert all(word in finding.text and finding.advice for word, finding in zip(said, found, strict=True))


def test_wsl_is_told_by_its_kernel() -> None:
    assert is_wsl("5.15.153.1-microsoft-standard-WSL2")
    assert not is_wsl("6.8.0-45-generic")


@pytest.mark.parametrize(("free_bytes", "status"), [(10**7, "problem"), (10**9, "warning"), (10**11, "ok")])
def test_free_space(free_bytes: int, status: str) -> None:
    assert judge_space(Path("/"), free_bytes).status == status


def _checkpoint(tmp_path: Path, alias: str, digits: str, content: bytes) -> Path:
    path = tmp_path / "w" / f"{BACKBONES[alias].checkpoint_stem}-{digits}.pth"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_checkpoints_with_right_own_and_wrong_hashes(tmp_path: Path) -> None:
    content = b"weights of my own"
    own = hashlib.sha256(content).hexdigest()[:8]
    _checkpoint(tmp_path, "vits16", own, content)
    wrong = _checkpoint(tmp_path, "vitb16", BACKBONES["vitb16"].sha256_prefix, b"cut off")
    good, bad = check_checkpoints(tmp_path / "w", tmp_path / "g", full=False)
    assert (good.status, good.text) == (Status.OK, "vits16: own weights, hash as in the name")
    assert bad.status is Status.PROBLEM
    assert str(wrong) in bad.text
    assert BACKBONES["vitb16"].sha256_prefix in bad.text


def test_large_checkpoints_are_read_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.doctor import weights

    monkeypatch.setattr(weights, "READ_AT_ONCE_BYTES", 3)
    _checkpoint(tmp_path, "vitb16", BACKBONES["vitb16"].sha256_prefix, b"cut off")
    [unread] = check_checkpoints(tmp_path / "w", tmp_path / "g", full=False)
    assert unread.text == "vitb16: hash not read yet (--full reads it)"
    [read] = check_checkpoints(tmp_path / "w", tmp_path / "g", full=True)
    assert read.status is Status.PROBLEM


def test_graphs_verified_never_verified_and_damaged(tmp_path: Path) -> None:
    output = {"largest_difference": 1e-6, "mean_cosine": 1.0}
    figures = json.dumps({"provider": "CPUExecutionProvider", "outputs": {"patch_tokens": output}})
    write_tiny_graph(tmp_path / "g" / "vits16-fp32.onnx", **{"dinov3_match.verification": figures})
    write_tiny_graph(tmp_path / "g" / "vitb16-fp32.onnx", "vitb16")
    (tmp_path / "g" / "vitl16-fp32.onnx").write_bytes(b"\x08")
    found = check_graphs(tmp_path / "g", False, load_registry(BUILTINS))
    assert [(entry.status.value, entry.text.split(" ")[0]) for entry in found] == [
        ("ok", "verified:"),
        ("problem", "vitl16-fp32.onnx"),
        ("warning", "never"),
    ]


def test_graphs_of_every_runtime_are_seen(tmp_path: Path) -> None:
    graph = tmp_path / "vits16-fp32.torchscript"
    with zipfile.ZipFile(graph, "w") as archive:
        archive.writestr("vits16-fp32/extra/dinov3_match.json", "{}")
    found = check_graphs(tmp_path, False, load_registry(BUILTINS))
    assert [entry.name for entry in found] == ["graph"]
    assert graph.name in found[0].text


def test_renamed_checkpoints_are_told_with_the_names_they_may_have_had(tmp_path: Path) -> None:
    official = BACKBONES["vits16"].checkpoint_name
    for name in ("dinov3_vitl16.pth", official.replace(".pth", " (1).pth"), "mine.pth", official):
        (tmp_path / name).touch()
    [found] = check_names(tmp_path)
    assert found.status is Status.WARNING
    of_vitl16 = f"{BACKBONES['vitl16'].checkpoint_name} or {BACKBONES['vitl16sat'].checkpoint_name}"
    assert f"dinov3_vitl16.pth ({of_vitl16}?)" in found.text
    assert f"(1).pth ({official}?)" in found.text
    assert found.text.endswith("mine.pth")
    (tmp_path / "mine.pth").rename(tmp_path / "mine.txt")
    assert "mine" not in check_names(tmp_path)[0].text


def test_plugins_that_cannot_be_loaded_do_not_end_the_page() -> None:
    def fail():
        raise PluginError("two matchers are called 'mine'")

    registry, [found] = check_plugins(fail)
    assert (found.status, found.text) == (Status.PROBLEM, "two matchers are called 'mine'")
    assert not registry.runtimes


def test_the_page_wraps_words_but_neither_paths_nor_commands() -> None:
    path = "/a/" + "very-long-" * 9 + "folder"
    text = section_text(Section("results", (problem("EXPORT_ROOT", f"{path} is full of things", "free it"),)), 60)
    assert path in text
    assert all(len(line) <= 60 for line in text.splitlines() if path not in line)
    assert "-> free it" in text


@pytest.mark.parametrize(
    ("findings", "status", "said"),
    [
        ([ok("a", "x")], "ok", "This machine can do the job."),
        ([ok("a", "x"), warning("b", "y", "z")], "warning", "This machine can do the job. 1 warning: "),
        ([warning("b", "y", "z"), problem("c", "y", "z")] * 2, "problem", "2 problems: do what the arrows say"),
    ],
)
def test_the_verdict_is_that_of_the_worst_finding(findings: list[Finding], status: str, said: str) -> None:
    sections = (Section("one", tuple(findings)),)
    assert worst(sections).value == status
    assert verdict(sections).startswith(said)
    assert " ".join(conclusion(sections, 30).split()) == verdict(sections)
