"""Start-up check: are the four packages ours, and is exactly one ONNX Runtime installed?

The packages have common names (`models`, `plugins`), so another folder or distribution can stand in front of them; and
every build of ONNX Runtime installs the same import package, so two of them break each other. Standard library only:
this runs before anything that could fail because of what it checks.
"""

import base64
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "dinov3-match"
PACKAGES = ("engine", "exporters", "models", "plugins")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn")
"""Distributions that install the import package `onnxruntime`."""

_CHOICES = (
    f"pip install '{DISTRIBUTION}[cpu]' (any machine), '{DISTRIBUTION}[gpu]' (NVIDIA, CUDA 12) or "
    f"'{DISTRIBUTION}[gpu-cu13]' (NVIDIA, CUDA 13)"
)
_HOME = Path(__file__).resolve().parent.parent


def check_installation(*, runtime_needed: bool = True) -> None:
    """Checks what is installed; a few milliseconds, imports nothing heavy.

    Raises:
        WorkError: a package is not this distribution's (the message names the intruder), two builds of ONNX Runtime
            are installed, or, if `runtime_needed`, none is.
    """
    problem = foreign_package() or overwritten_package() or runtime_problem(runtime_needed)
    if problem is not None:
        from models.errors import WorkError

        raise WorkError(problem)


def explain_failed_import() -> None:
    """Called when `engine` cannot import from `models`: says whose it is, if it is somebody else's; else returns.

    Raises:
        SystemExit: started as a command; the message goes to standard error, the exit code is 1.
        ImportError: imported by other code.
    """
    problem = foreign_package(("models",))
    if problem is None:
        return
    # `python -m engine` shows as "-m" while the package is imported. The error classes live in the package that is
    # not there, so the command line has no chance to report this itself.
    if Path(sys.argv[0] if sys.argv else "").stem in ("engine", "-m"):
        raise SystemExit(f"engine: error: {problem}")
    raise ImportError(problem)


def foreign_package(names: Iterable[str] = PACKAGES, home: Path = _HOME) -> str | None:
    """The complaint about the first package that does not lie in `home`, the folder that holds this `engine`."""
    for name in names:
        folder = _folder(name)
        if folder is None:
            return (
                f"the package '{name}' of {DISTRIBUTION} is missing beside {home / 'engine'}; install it again: "
                f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
            )
        if folder != home / name:
            return (
                f"the package '{name}' comes from {folder}, not from {home / name} of {DISTRIBUTION}; run from another "
                "folder, take that one out of PYTHONPATH, or use a virtual environment of this program's own"
            )
    return None


def overwritten_package() -> str | None:
    """The complaint about a package whose `__init__.py` another distribution has written over, or None.

    Known only for an ordinary installation: an editable one (`pip install -e`) records no source files.
    """
    recorded = _recorded_hashes()
    for name in PACKAGES:
        expected, file = recorded.get(f"{name}/__init__.py"), _HOME / name / "__init__.py"
        if expected is None or not file.is_file() or _record_hash(file.read_bytes()) == expected:
            continue
        others = [
            other.name
            for other in metadata.distributions()
            if other.name != DISTRIBUTION
            and any(path.as_posix() == f"{name}/__init__.py" for path in other.files or ())
        ]
        if others:
            return (
                f"the distribution {' and '.join(others)} has written over the package '{name}' in {file.parent}; "
                f"remove it (pip uninstall {' '.join(others)}) and install this program again: "
                f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
            )
    return None


def runtime_problem(runtime_needed: bool = True) -> str | None:
    """The complaint about ONNX Runtime: several builds, or none although one is needed."""
    found = [f"{name} {version}" for name in RUNTIMES if (version := _version(name)) is not None]
    if len(found) > 1:
        names = " ".join(entry.split()[0] for entry in found)
        return (
            f"{' and '.join(found)} are installed together and overwrite each other's files. Uninstall all of them, "
            f"pip uninstall {names}, then install one: {_CHOICES}"
        )
    # A vendor's own build may come without a distribution; then the import package is all there is to see.
    if runtime_needed and not found and importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed; install one: {_CHOICES}"
    return None


def _folder(name: str) -> Path | None:
    """Where an import of this package leads, without importing it; a single module leads to its file."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # imported already by something that left no spec
        origin = getattr(sys.modules.get(name), "__file__", None)
        return Path(origin).resolve().parent if origin else None
    if spec is None:
        return None
    if isinstance(spec.loader, importlib.machinery.NamespaceLoader) or spec.origin is None:
        return next((Path(entry).resolve() for entry in spec.submodule_search_locations or ()), None)
    origin_path = Path(spec.origin).resolve()
    return origin_path.parent if spec.submodule_search_locations is not None else origin_path


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _recorded_hashes() -> dict[str, str]:
    """File name to hash, as pip recorded them when it installed this distribution."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return {}
    if Path(str(distribution.locate_file("engine"))).resolve() != _HOME / "engine":
        return {}
    return {path.as_posix(): path.hash.value for path in distribution.files or () if path.hash is not None}


def _record_hash(content: bytes) -> str:
    """SHA-256 in the form of a wheel's RECORD: URL-safe base64 without padding (PEP 376)."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
