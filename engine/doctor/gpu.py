"""The NVIDIA driver, what CUDA it can run, and the GPUs with their memory."""

import ctypes
import shutil
import subprocess
import sys
from dataclasses import dataclass

from engine.doctor.finding import Finding, ok, problem, warning

LITTLE_MEMORY_MIB = 4096
_QUERY = "name,driver_version,memory.total,memory.free,compute_cap"
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi tells it; memory in MiB."""

    name: str
    driver: str
    total_mib: int
    free_mib: int
    compute_capability: str


def check_gpu(cuda_build: bool) -> list[Finding]:
    """Driver and GPUs.

    Args:
        cuda_build: whether the installed ONNX Runtime has the CUDA provider.
    """
    driver = cuda_driver()
    gpus, trouble = query_gpus()
    if driver is None and not gpus:
        return [_no_driver(cuda_build, trouble)]
    findings = []
    if driver is None:
        findings.append(
            problem("NVIDIA driver", "the library libcuda cannot be loaded", "reinstall the driver, or restart")
        )
    elif driver.error:
        findings.append(problem("NVIDIA driver", driver.error, "update or reinstall the driver, restart the machine"))
    else:
        number = f"{gpus[0].driver}, " if gpus else ""
        findings.append(ok("NVIDIA driver", f"{number}runs CUDA up to {driver.cuda}"))
    findings += [_memory(gpu) for gpu in gpus]
    if not gpus:
        findings.append(
            warning("GPU memory", f"unknown: {trouble}", "nvidia-smi comes with the driver: put it on PATH")
        )
    if gpus and not cuda_build:
        findings.append(
            warning(
                "GPU in use",
                "no: the installed ONNX Runtime has no CUDA",
                "pip uninstall onnxruntime; pip install 'dinov3-match[gpu]' (CUDA 12) or 'dinov3-match[gpu-cu13]'",
            )
        )
    return findings


@dataclass(frozen=True)
class CudaDriver:
    """The newest CUDA that the driver runs, such as `12.4`; `error` where it does not start."""

    cuda: str
    error: str = ""


def cuda_driver() -> CudaDriver | None:
    """Asks the driver's own library, without nvidia-smi; None where there is none."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    code = library.cuInit(0)
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return CudaDriver(cuda, f"it is there, but does not start (cuInit gives error {code})" if code else "")


def query_gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and why there are none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], "there is no nvidia-smi"
    try:
        done = subprocess.run(
            [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi does not answer ({type(error).__name__})"
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        return [], f"nvidia-smi: {said[0] if said else f'exit code {done.returncode}'}"
    return [gpu for line in done.stdout.splitlines() if (gpu := parse_gpu(line)) is not None], "nvidia-smi lists none"


def parse_gpu(line: str) -> Gpu | None:
    """One line of nvidia-smi's table; None where it is none. Memory that the GPU does not tell is 0."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 5:
        return None
    name, driver, total, free, capability = parts
    return Gpu(name, driver, int(total) if total.isdigit() else 0, int(free) if free.isdigit() else 0, capability)


def _no_driver(cuda_build: bool, trouble: str) -> Finding:
    if not cuda_build:
        return ok("NVIDIA driver", "none, and none is needed: this ONNX Runtime computes on the CPU")
    inside = "in a container, start it with the GPU (docs/docker.md); " if sys.platform == "linux" else ""
    return warning(
        "NVIDIA driver",
        f"none, though the installed ONNX Runtime is one for GPUs ({trouble})",
        f"{inside}on a machine with an NVIDIA GPU, install its driver; on one without, the CPU is used",
    )


def _memory(gpu: Gpu) -> Finding:
    text = (
        f"{gpu.name}, compute capability {gpu.compute_capability}, "
        f"{gpu.free_mib / 1024:.1f} of {gpu.total_mib / 1024:.1f} GiB free"
    )
    if gpu.total_mib > 0 and gpu.free_mib < min(LITTLE_MEMORY_MIB, gpu.total_mib / 2):
        return warning("GPU memory", text, "end other programs on the GPU, or take a smaller backbone or --image-size")
    return ok("GPU memory", text)
