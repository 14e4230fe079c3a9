"""Python, the packages with their versions, and which build of ONNX Runtime is installed."""

import importlib
import platform
import sys
from importlib import metadata

from engine import __version__
from engine.doctor.finding import Finding, ok, problem, warning
from engine.install_check import RUNTIMES, foreign_package, overwritten_package, runtime_problem

NEEDED = {
    "numpy": ("numpy",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "h5py": ("h5py",),
    "pluggy": ("pluggy",),
    "argparse_dataclass": ("argparse-dataclass",),
    "tqdm": ("tqdm",),
}
"""Import packages that every command needs, and the distributions that may bring them."""

ON_NUMPY = ("cv2", "h5py")
"""Of these, the ones that cannot be imported without NumPy; nor can ONNX Runtime, which prints a traceback then."""

EXPORTING = {"torch": ("torch",), "onnx": ("onnx",), "onnxscript": ("onnxscript",)}
"""Import packages of `engine export` and `engine verify`."""

PYTHONS = ((3, 11), (3, 14))
"""The first version of Python that works, and the first that is not known to."""


def check_packages() -> list[Finding]:
    """All findings about Python and what is installed in it."""
    return [check_python(), *check_own_packages(), *check_needed(), check_runtime_build(), check_exporting()]


def check_python(version: tuple[int, int, int] | None = None) -> Finding:
    """The version of Python and the machine it is built for."""
    major, minor, micro = sys.version_info[:3] if version is None else version
    bits = "64-bit" if sys.maxsize > 2**32 else "32-bit"
    text = f"{major}.{minor}.{micro}, {bits}, {platform.system()} {platform.release()} {platform.machine()}"
    if not PYTHONS[0] <= (major, minor) < PYTHONS[1]:
        return problem("Python", text, "use Python 3.11, 3.12 or 3.13: others are neither supported nor tested")
    if bits == "32-bit":
        return problem("Python", text, "install a 64-bit Python: ONNX Runtime is published for no other")
    return ok("Python", text)


def check_own_packages() -> list[Finding]:
    """This program's own version, and whether its four packages are its own."""
    intruder = foreign_package() or overwritten_package()
    if intruder is not None:
        said, _, advice = intruder.partition("; ")
        return [problem("dinov3-match", said, advice)]
    return [ok("dinov3-match", __version__)]


def check_needed() -> list[Finding]:
    """Imports every package that is needed, for one that is installed may still be broken."""
    versions, findings = [], []
    without_numpy = import_failure("numpy") is not None
    for module, distributions in NEEDED.items():
        if without_numpy and module in ON_NUMPY:
            continue
        reason = import_failure(module)
        if reason is None:
            versions.append(f"{module} {installed_version(distributions) or '(version unknown)'}")
        else:
            findings.append(
                problem(module, f"cannot be imported: {reason}", f"pip install --force-reinstall {distributions[0]}")
            )
    return [ok("packages", ", ".join(versions)), *findings]


def check_runtime_build() -> Finding:
    """ONNX Runtime: none, one or wrongly several builds, and whether it can be imported."""
    complaint = runtime_problem()
    if complaint is not None:
        several = " are installed together and overwrite each other's files. "
        said, found, advice = complaint.partition(several)
        if found:
            return problem("ONNX Runtime", (said + found).strip(), advice)
        said, _, advice = complaint.partition("; ")
        return problem("ONNX Runtime", said, advice)
    builds = [f"{name} {version}" for name in RUNTIMES if (version := installed_version((name,))) is not None]
    text = builds[0] if builds else "a vendor's own build"
    if import_failure("numpy") is not None:
        return warning("ONNX Runtime", f"{text}, not tried: it needs NumPy", "mend NumPy first, then ask again")
    reason = import_failure("onnxruntime")
    if reason is not None:
        windows = "; on Windows, install the Microsoft Visual C++ Redistributable" if sys.platform == "win32" else ""
        again = builds[0].split()[0] if builds else "onnxruntime"
        return problem(
            "ONNX Runtime",
            f"{text} cannot be imported: {reason}",
            f"pip install --force-reinstall {again}{windows}",
        )
    return ok("ONNX Runtime", text)


def check_exporting() -> Finding:
    """Whether `engine export` can work here. Looks at versions only: importing torch takes seconds."""
    found = {module: installed_version(names) for module, names in EXPORTING.items()}
    missing = [module for module, version in found.items() if version is None]
    if missing:
        return warning(
            "for exporting",
            f"not installed: {', '.join(missing)}",
            "nothing to do unless this machine shall turn .pth files into graphs: pip install 'dinov3-match[export]'",
        )
    return ok("for exporting", ", ".join(f"{module} {version}" for module, version in found.items()))


def import_failure(module: str) -> str | None:
    """Why a package cannot be imported, in one line; None where it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken package may raise anything
        first = (str(error).splitlines() or [""])[0]
        return f"{type(error).__name__}: {first}"
    return None


def installed_version(distributions: tuple[str, ...]) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
