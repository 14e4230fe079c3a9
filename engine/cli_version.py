"""`engine --version`: this program, Python, and the packages that results depend on."""

import argparse
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from engine import __version__

PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "h5py",
    "pluggy",
    "argparse-dataclass",
    "tqdm",
    "torch",
    "onnx",
    "onnxscript",
    "transformers",
    "openvino",
    "poselib",
)
"""Distributions whose versions matter, in the order they are shown."""


def version_text() -> str:
    """The program's version on the first line, then Python, the system, and packages; one that is missing says so."""
    lines = [
        f"dinov3-match {__version__}",
        f"Python {platform.python_version()} ({platform.system()} {platform.machine()})",
    ]
    found = [(name, version) for name in PACKAGES if (version := version_of(name)) is not None]
    lines += [f"{name} {version}" for name, version in found]
    if not any(name.startswith("onnxruntime") for name, _ in found):
        lines.append("onnxruntime: not installed")
    if not any(name == "torch" for name, _ in found):
        lines.append("torch: not installed (only 'engine export' and 'engine verify' need it)")
    return "\n".join(lines)


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


class VersionAction(argparse.Action):
    """Prints the versions and ends; they are looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **keywords: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **keywords)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(version_text())
        parser.exit()
