"""What this machine's processor can do with bytes. Standard library only."""

import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def cpu_flags() -> str | None:
    """The features of the processor, separated by blanks, as Linux tells them; None where they are not told.

    Arm processors of Windows and macOS computers have the dot product instruction, so that they are known all the same.
    """
    try:
        lines = _CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        return "asimddp" if platform.machine().lower() in ("arm64", "aarch64") else None
    return next((line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))), None)


def exact_byte_products(flags: str) -> str | None:
    """The feature by which sums of 8-bit products do not saturate (VNNI, or Arm's dot product), or None."""
    return next((flag for flag in flags.split() if "vnni" in flag or flag == "asimddp"), None)
