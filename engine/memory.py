"""How much memory a run may use, and how it is shared out."""

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
SMALLEST_MIB = 64
_FALLBACK_BYTES = 2 << 30
_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container's memory, of both versions of control groups."""


@dataclass(frozen=True)
class MemoryPlan:
    """What feature maps may take, beyond the program and the graph.

    Attributes:
        cached_bytes: feature maps kept for later pairs, as stored (float16).
        block_bytes: feature maps of the block that is being matched, in float32, both sides together.
    """

    cached_bytes: int
    block_bytes: int

    @classmethod
    def of(cls, budget_bytes: int) -> "MemoryPlan":
        """Shares out a budget: half is for maps that wait, a quarter for those being matched, a quarter for results."""
        return cls(budget_bytes // 2, budget_bytes // 4)


def default_budget_bytes() -> int:
    """Half of the memory that is free now, in the container where there is one; at least `SMALLEST_MIB`."""
    return max(SMALLEST_MIB * MIB, min(_free_bytes(), _free_in_container()) // 2)


def _free_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _FALLBACK_BYTES


def _free_in_container() -> int:
    free = 1 << 62
    for limit, used in _CGROUP_FILES:
        try:
            free = min(free, int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii")))
        except (OSError, ValueError):  # no such group, or the limit is `max`
            continue
    return max(free, 0)
