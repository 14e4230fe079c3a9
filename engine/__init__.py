"""The engine: encode aerial photographs, match them patch by patch, verify the geometry.

This module is the public face for plugins and scripts. Names that need other packages are fetched when first asked
for, so that the command line can say which one is missing, and quick commands go without OpenCV and HDF5. The errors
need none, and importing them tells at once whether somebody else's `models` stands in front of ours.
"""

import importlib
from typing import TYPE_CHECKING, Any

from engine.errors import Dinov3MatchError, OutOfMemory, UsageError, WorkError

if TYPE_CHECKING:
    from engine.features import FeatureMap, Matches
    from engine.hooks import (
        BlockMatchFunction,
        Device,
        DeviceMatchFunction,
        Estimate,
        FilterFunction,
        FilterRecord,
        MatcherRecord,
        MatchFunction,
        ModelKind,
        Runtime,
        RuntimeRecord,
        hookimpl,
    )
    from engine.library import MatchedPair
    from engine.loaded_graph import memory_is_short
    from engine.matcher import Matcher
    from engine.plugin_options import option

__version__ = "0.1.0"

__all__ = [
    "BlockMatchFunction",
    "Device",
    "DeviceMatchFunction",
    "Dinov3MatchError",
    "Estimate",
    "FeatureMap",
    "FilterFunction",
    "FilterRecord",
    "MatchFunction",
    "MatchedPair",
    "Matcher",
    "MatcherRecord",
    "Matches",
    "ModelKind",
    "OutOfMemory",
    "Runtime",
    "RuntimeRecord",
    "UsageError",
    "WorkError",
    "__version__",
    "hookimpl",
    "memory_is_short",
    "option",
]

_HOMES = {
    "engine.features": ("FeatureMap", "Matches"),
    "engine.library": ("MatchedPair",),
    "engine.loaded_graph": ("memory_is_short",),
    "engine.matcher": ("Matcher",),
    "engine.plugin_options": ("option",),
}
"""Modules of the names above; those of no module here come from `engine.hooks`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'engine' has no attribute '{name}'")
    home = next((module for module, names in _HOMES.items() if name in names), "engine.hooks")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
