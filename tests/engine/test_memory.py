"""How much memory a run takes for itself."""

import argparse
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import memory
from engine.cli_types import memory_size

GIB = 1 << 30


class Machine:
    """Files as the kernel shows them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
        def read_text(path: Path, *_: object) -> str:
            if path.as_posix() not in files:
                raise FileNotFoundError(path)
            return io.StringIO(files[path.as_posix()]).read()

        monkeypatch.setattr(memory.Path, "read_text", read_text)


MEMINFO = "MemTotal:       32000000 kB\nMemFree:          100000 kB\nMemAvailable:   16777216 kB\n"


def test_half_of_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, {"/proc/meminfo": MEMINFO})
    assert memory.default_budget_bytes() == 8 * GIB


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ],
)
def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, limit: str, used: str) -> None:
    Machine(monkeypatch, {"/proc/meminfo": MEMINFO, limit: f"{6 * GIB}\n", used: f"{2 * GIB}\n"})
    assert memory.default_budget_bytes() == 2 * GIB


def test_a_container_without_limit_and_one_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "5\n"}
    Machine(monkeypatch, files)
    assert memory.default_budget_bytes() == 8 * GIB
    files |= {"/sys/fs/cgroup/memory.max": f"{GIB}\n", "/sys/fs/cgroup/memory.current": f"{2 * GIB}\n"}
    assert memory.default_budget_bytes() == 64 << 20


@pytest.mark.parametrize("content", ["", "MemAvailable:\n", "MemAvailable: many kB\n"])
def test_without_proc_it_goes_by_physical_memory(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    Machine(monkeypatch, {"/proc/meminfo": content} if content else {})
    sizes = {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory.os, "sysconf_names", sizes, raising=False)
    monkeypatch.setattr(memory.os, "sysconf", sizes.__getitem__, raising=False)
    assert memory.default_budget_bytes() == GIB


@given(st.integers(64 << 20, 1 << 50))
def test_shares_never_exceed_the_budget(budget: int) -> None:
    plan = memory.MemoryPlan.of(budget)
    assert 0 < plan.block_bytes <= plan.cached_bytes
    assert plan.cached_bytes + plan.block_bytes <= budget


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 << 20), ("64", 64 << 20), ("1.5g", 3 * GIB // 2), (" 4 GiB ", 4 * GIB), ("2TB", 2 << 40)],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-4G", "4K", "0", "63M", "4G4", "nan", "1e3M", "٣٠٠M"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        memory_size(text)
