"""What every command starts from: settings of the environment, folders, plugins."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from engine.plugin_registry import Registry
from engine.settings import Roots

VERSIONED = (
    "dinov3-match",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "h5py",
    "pluggy",
    "poselib",
)


@dataclass(frozen=True)
class Context:
    """Values of the environment and `.env`, the folders they name, and the plugins on offer."""

    values: Mapping[str, str]
    roots: Roots
    registry: Registry


def installed_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, as far as installed."""
    versions = {}
    for name in VERSIONED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def running_in_container() -> bool:
    """Whether this process runs in the project's container, which sets this variable."""
    return os.environ.get("DINOV3_MATCH_CONTAINER") == "1"
