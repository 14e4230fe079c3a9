"""CUDA and cuDNN libraries: which ones this ONNX Runtime asks for, by name, and where they are."""

import ctypes
import importlib.util
import mmap
import re
import site
import sys
from pathlib import Path

from engine.doctor.finding import Finding, ok, problem, warning

_PROVIDER_FILES = ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll")
_WANTED = re.compile(
    rb"(?:lib(?:cudart|cublas|cublasLt|cufft|curand|cudnn|nvrtc|nvJitLink)\.so\.\d+"
    rb"|(?:cudart|cublas|cublasLt|cufft|curand|cudnn|nvrtc)64_\d+\.dll)(?=\0)"
)


def check_libraries() -> list[Finding]:
    """One finding: the libraries of CUDA are all there, or which ones are missing; none for a build without CUDA."""
    provider = cuda_provider_file()
    if provider is None:
        return []
    names = wanted_libraries(provider)
    if not names:
        return [
            warning(
                "CUDA libraries",
                f"{provider.name} does not say which ones it needs",
                "see below whether the provider starts",
            )
        ]
    places = {name: find_library(name) for name in names}
    missing = [name for name, place in places.items() if place is None]
    if missing:
        return [
            problem(
                "CUDA libraries",
                f"missing: {', '.join(missing)} ({len(places) - len(missing)} of {len(places)} found)",
                "pip install 'onnxruntime-gpu[cuda,cudnn]' brings all of them; or put their folder on "
                + ("PATH" if sys.platform == "win32" else "LD_LIBRARY_PATH"),
            )
        ]
    return [ok("CUDA libraries", f"all {len(places)} found: {', '.join(names)}")]


def cuda_provider_file() -> Path | None:
    """The file that holds ONNX Runtime's CUDA provider; None where the build has none."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "capi"
    return next((folder / name for name in _PROVIDER_FILES if (folder / name).is_file()), None)


def wanted_libraries(provider: Path) -> list[str]:
    """Names of CUDA's libraries that stand in the provider's table of needed libraries, in order of first mention."""
    if provider.stat().st_size == 0:
        return []
    with provider.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return list(dict.fromkeys(found.group().decode() for found in _WANTED.finditer(data)))


def find_library(name: str) -> str | None:
    """Where a library is: in a wheel of NVIDIA's, as ONNX Runtime looks first, or where the system looks; else None."""
    for folder in {*site.getsitepackages(), site.getusersitepackages(), *sys.path}:
        root = Path(folder) / "nvidia"
        if root.is_dir():
            found = next(root.glob(f"**/{name}"), None)
            if found is not None:
                return str(found)
    try:
        ctypes.CDLL(name)
    except OSError:
        return None
    return name
