"""Names of ONNX Runtime's execution providers, as `--provider` takes them."""

import os

from engine.errors import UsageError
from engine.suggest import did_you_mean

AUTO = "auto"

PROVIDERS: dict[str, str] = {
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "rocm": "ROCMExecutionProvider",
}
"""Short names of `--provider` and ONNX Runtime's names. `gpu` is understood as `cuda`."""

NUMBERED = (PROVIDERS["cuda"], PROVIDERS["tensorrt"])
"""Providers of NVIDIA GPUs, of which a machine may have several."""


def provider_name(requested: str) -> str:
    """ONNX Runtime's name of a provider given by its short or full name, with or without a device number.

    Raises:
        UsageError: no such provider; the message lists the short names.
    """
    return parse_provider(requested)[0]


def parse_provider(requested: str) -> tuple[str, int | None]:
    """ONNX Runtime's name of a provider, and the number of the device: `cuda:1` is the second GPU.

    Raises:
        UsageError: no such provider, or a device number where the provider takes none.
    """
    given, colon, number = requested.strip().lower().partition(":")
    full = {name.lower(): name for name in PROVIDERS.values()} | PROVIDERS | {"gpu": PROVIDERS["cuda"]}
    if given not in full:
        hint = did_you_mean(given, (AUTO, *PROVIDERS, *PROVIDERS.values()))
        raise UsageError(f"provider {requested}: there is none.{hint} Choose one of {AUTO}, {', '.join(PROVIDERS)}")
    name = full[given]
    if not colon:
        return name, None
    if name not in NUMBERED or not (number.isascii() and number.isdecimal()):
        raise UsageError(f"provider {requested}: a device number is written as cuda:0, and only of cuda and tensorrt")
    return name, int(number)


def short_name(provider: str) -> str:
    """The short name of a provider, `cuda` for `CUDAExecutionProvider`; of another runtime's device, its own name."""
    return next((short for short, full in PROVIDERS.items() if full == provider), provider)


def check_provider(requested: str) -> None:
    """Makes sure `--provider` names a provider there is, before any work begins.

    Raises:
        UsageError: it does not; the message lists them.
    """
    if requested != AUTO:
        parse_provider(requested)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
