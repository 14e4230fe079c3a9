"""The start-up check, held against made-up installations: real folders and real distribution records."""

import base64
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import WorkError, install_check

ROOT = Path(__file__).resolve().parents[2]


def add_distribution(site: Path, name: str, version: str = "1.0", files: dict[str, str] | None = None) -> None:
    """Writes what pip leaves of an installed distribution: its files, METADATA and RECORD."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    record = []
    for path, text in (files or {}).items():
        site.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        site.joinpath(path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}\n")
    info.joinpath("RECORD").write_text("".join(record))


def run(code: str, cwd: Path, *path: Path, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, *flags, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def only_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site folder that, with this project, is all there is: what this environment has installed is out of sight."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT)])
    return tmp_path


def test_this_environment_passes_and_quickly() -> None:
    install_check.check_installation()
    start = time.perf_counter()
    install_check.check_installation()
    assert time.perf_counter() - start < 0.1


def test_each_foreign_package_is_named_with_its_folder(tmp_path: Path) -> None:
    for name in install_check.PACKAGES:
        intruder = tmp_path / name / name
        intruder.mkdir(parents=True)
        intruder.joinpath("__init__.py").write_text("")
        code = (
            f"import sys, engine.install_check as check; sys.modules.pop({name!r}); "
            f"sys.path.insert(0, {str(intruder.parent)!r}); print(check.foreign_package())"
            if name in ("engine", "models")
            else f"import sys, engine.install_check as check; sys.path.insert(0, {str(intruder.parent)!r}); "
            "print(check.foreign_package())"
        )
        done = run(code, tmp_path, ROOT)
        assert f"'{name}' comes from {intruder}" in done.stdout, done
        assert str(ROOT / name) in done.stdout


def test_a_single_module_in_the_way_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("plugins.py").write_text("")
    done = run("import engine.install_check as check; print(check.foreign_package())", tmp_path, tmp_path, ROOT)
    assert str(tmp_path / "plugins.py") in done.stdout, done


def test_check_installation_raises_a_work_error_for_an_intruder(tmp_path: Path) -> None:
    tmp_path.joinpath("exporters").mkdir()
    tmp_path.joinpath("exporters", "__init__.py").write_text("")
    code = (
        "import engine, engine.install_check as check\n"
        "try: check.check_installation()\n"
        "except engine.WorkError as error: print('raised', error)"
    )
    done = run(code, tmp_path, tmp_path, ROOT)
    assert done.stdout.startswith("raised the package 'exporters' comes from"), done


def test_a_missing_package_is_told_apart_from_a_foreign_one(tmp_path: Path) -> None:
    problem = install_check.foreign_package(("no_such_package_here",), tmp_path)
    assert problem is not None
    assert "'no_such_package_here'" in problem
    assert "missing" in problem


# An editable installation answers for `models.errors` even when `models` is foreign, so the import of `engine` succeeds
# and the command's own check speaks. Without site-packages (-S) there is no such help, and the import itself has to.
@pytest.mark.parametrize("flags", [(), ("-S",)])
def test_foreign_models_end_the_command_with_one_line_and_no_traceback(tmp_path: Path, flags: tuple[str, ...]) -> None:
    tmp_path.joinpath("models").mkdir()
    tmp_path.joinpath("models", "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *flags, "-m", "engine", "plugins"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert f"'models' comes from {tmp_path / 'models'}" in done.stderr


def test_foreign_models_are_an_import_error_for_other_code(tmp_path: Path) -> None:
    tmp_path.joinpath("models").mkdir()
    tmp_path.joinpath("models", "__init__.py").write_text("")
    code = "try: import engine\nexcept ImportError as error: print('raised', error)"
    done = run(code, tmp_path, tmp_path, ROOT, flags=("-S",))
    assert done.stdout.startswith("raised the package 'models' comes from"), done


def test_a_fault_inside_our_own_models_is_not_blamed_on_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["engine"])
    install_check.explain_failed_import()


@pytest.mark.parametrize("other", ["onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"])
def test_two_runtimes_are_refused_with_what_to_uninstall(only_site: Path, other: str) -> None:
    add_distribution(only_site, "onnxruntime", "1.32.0")
    add_distribution(only_site, other, "1.26.0")
    with pytest.raises(WorkError, match=rf"pip uninstall onnxruntime {other}, then install one") as error:
        install_check.check_installation(runtime_needed=False)
    assert "onnxruntime 1.32.0" in str(error.value)
    assert f"{other} 1.26.0" in str(error.value)


@pytest.mark.parametrize("name", install_check.RUNTIMES)
def test_one_runtime_is_enough(only_site: Path, name: str) -> None:
    add_distribution(only_site, name)
    assert install_check.runtime_problem() is None


def test_no_runtime_names_the_extras_to_install(only_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    problem = install_check.runtime_problem()
    assert problem is not None
    assert all(f"dinov3-match[{extra}]" in problem for extra in ("cpu", "gpu", "gpu-cu13"))
    assert install_check.runtime_problem(runtime_needed=False) is None


def test_a_vendor_build_without_a_distribution_is_accepted(only_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    only_site.joinpath("onnxruntime").mkdir()
    only_site.joinpath("onnxruntime", "__init__.py").write_text("")
    assert install_check.runtime_problem() is None


def installed_copy(site: Path) -> None:
    """This distribution as an ordinary installation: its four `__init__.py` files, recorded."""
    files = {f"{name}/__init__.py": f'"""{name} of dinov3-match"""\n' for name in install_check.PACKAGES}
    add_distribution(site, "dinov3-match", files=files)


def test_a_distribution_that_wrote_over_a_package_is_named(only_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_copy(only_site)
    monkeypatch.setattr(install_check, "_HOME", only_site)
    assert install_check.overwritten_package() is None
    add_distribution(only_site, "somebodys-models", files={"models/__init__.py": "import tensorflow\n"})
    problem = install_check.overwritten_package()
    assert problem is not None
    assert "somebodys-models" in problem
    assert str(only_site / "models") in problem


def test_a_file_edited_by_its_owner_is_not_reported(only_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_copy(only_site)
    monkeypatch.setattr(install_check, "_HOME", only_site)
    only_site.joinpath("plugins", "__init__.py").write_text("print('debugging')\n")
    assert install_check.overwritten_package() is None
