"""Full disks, read-only folders, permissions lost, images deleted or replaced, a provider that fails."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from robust_runs import SMALL_SHARDS, Workplace, check_complete_files, everything, json_results, partial_files

from engine.imaging import read_image

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts file systems, or limits processes")


@pytest.fixture
def workplace(tmp_path: Path, tiny_graph: Path) -> Workplace:
    return Workplace(tmp_path, tiny_graph, frames=2)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory. Skips the test where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def expected_of(workplace: Workplace) -> tuple[dict, dict, dict]:
    undisturbed = workplace.folder / "undisturbed"
    assert workplace.run(prelude=SMALL_SHARDS, exports=undisturbed)[0] == 0
    return everything(undisturbed)


@linux
@pytest.mark.parametrize("size_kb", [16, 48, 96])
def test_a_full_disk(size_kb: int, workplace: Workplace) -> None:
    expected = expected_of(workplace)
    disk = workplace.folder / "disk"
    with mounted(disk, f"size={size_kb}k"):
        code, _, err = workplace.run(prelude=SMALL_SHARDS, exports=disk / "exports")
        assert code == 1
        assert "the disk is full" in err
        assert "Traceback" not in err
        check_complete_files(disk)
        assert partial_files(disk) == []
        before = json_results(disk / "exports")
        remount(disk, "size=64m")
        assert workplace.run(prelude=SMALL_SHARDS, exports=disk / "exports")[0] == 0
        assert everything(disk / "exports") == expected
        assert before.keys() <= expected[0].keys()


@linux
@pytest.mark.parametrize("to", ["hloc", "colmap", "npy", "csv"])
@pytest.mark.parametrize("size_kb", [4, 16])
def test_a_disk_that_fills_while_converting(to: str, size_kb: int, workplace: Workplace) -> None:
    assert workplace.run()[0] == 0
    disk = workplace.folder / "disk"
    with mounted(disk, f"size={size_kb}k"):
        done = subprocess.run(
            [sys.executable, "-m", "engine", "convert", "--to", to, "--out", str(disk / "out")],
            env=workplace.environment,
            cwd=workplace.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "full" in done.stderr
        assert str(disk / "out") in done.stderr
        assert partial_files(disk) == []


@linux
def test_a_read_only_disk(workplace: Workplace) -> None:
    disk = workplace.folder / "disk"
    with mounted(disk, "size=8m"):
        remount(disk, "ro")
        code, _, err = workplace.run(exports=disk / "exports")
        assert (code, list(disk.iterdir())) == (1, [])
        assert "read-only" in err
        assert "Traceback" not in err


@linux
def test_a_disk_that_becomes_read_only_half_way(workplace: Workplace) -> None:
    expected = expected_of(workplace)
    disk = workplace.folder / "disk"
    with mounted(disk, "size=8m"):
        code, _, err = workplace.run(
            prelude=SMALL_SHARDS + after_first_flush(f"subprocess.run(['mount', '-o', 'remount,ro', {str(disk)!r}])"),
            exports=disk / "exports",
        )
        remount(disk, "rw")
        assert code == 1
        assert "read-only" in err
        assert "Traceback" not in err
        check_complete_files(disk)
        assert len(json_results(disk / "exports")) == 3
        assert workplace.run(prelude=SMALL_SHARDS, exports=disk / "exports")[0] == 0
        assert everything(disk / "exports") == expected
        assert partial_files(disk) == []


def after_first_flush(code: str) -> str:
    """Python code that runs once, when the first shard and its JSON files are complete."""
    return f"""
import os, subprocess
original_flush, flushed = writer.ResultWriter.flush, []
def flush(self):
    original_flush(self)
    if not flushed:
        flushed.append(1)
        {code}
writer.ResultWriter.flush = flush
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_permission_lost_half_way(tiny_graph: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        workplace = Workplace(folder, tiny_graph, frames=2)
        prelude = SMALL_SHARDS + after_first_flush("lose_permission()")
        prelude = f"""
import os
def lose_permission():
    for at, *_ in os.walk({str(workplace.exports)!r}):
        os.chmod(at, 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # Permissions do not bind root.
{prelude}"""
        code, _, err = workplace.run(prelude=prelude)
        for at, *_ in os.walk(workplace.exports):
            Path(at).chmod(0o755)
        assert code == 1, err
        assert "permission denied" in err
        assert "Traceback" not in err
        check_complete_files(workplace.exports)
        assert len(json_results(workplace.exports)) == 3
        assert workplace.run(prelude=SMALL_SHARDS)[0] == 0
        assert everything(workplace.exports) == expected_of(workplace)


def test_an_image_deleted_during_the_run(workplace: Workplace) -> None:
    victim = workplace.images / "B2_200/B2_200_0002.jpg"
    content = victim.read_bytes()
    prelude = SMALL_SHARDS + before_encoding(victim, f"os.unlink({str(victim)!r})")
    code, _, err = workplace.run(prelude=prelude)
    assert code == 1
    assert "200.0002" in err
    assert "No such file" in err
    assert "Traceback" not in err
    assert len(json_results(workplace.exports)) == 3
    victim.write_bytes(content)
    assert workplace.run(prelude=SMALL_SHARDS)[0] == 0
    assert json_results(workplace.exports).keys() == expected_of(workplace)[0].keys()


def test_an_image_replaced_during_the_run(workplace: Workplace) -> None:
    """Results of the old picture must not stand for the new one."""
    victim, other = (workplace.images / f"B2_200/B2_200_000{frame}.jpg" for frame in (2, 1))
    code, _, err = workplace.run(
        prelude=SMALL_SHARDS + after_encoding(victim, f"shutil.copy({str(other)!r}, {str(victim)!r})")
    )
    assert (code, err) == (0, "")
    assert np.array_equal(read_image(victim), read_image(other))
    code, out, _ = workplace.run(prelude=SMALL_SHARDS)
    assert code == 0
    assert "3 pair(s) already done" in out
    assert "1 encoded, 3 reused" in out
    assert everything(workplace.exports) == expected_of(workplace)


def before_encoding(path: Path, code: str) -> str:
    return _around_encoding(path, code, "before")


def after_encoding(path: Path, code: str) -> str:
    return _around_encoding(path, code, "after")


def _around_encoding(path: Path, code: str, when: str) -> str:
    return f"""
import os, shutil
import engine.photograph_encoder as encoder_module
original_prepare, happened = encoder_module.PhotographEncoder._prepare, []
def prepare(self, entry, *arguments):
    hit = str(entry.path) == {str(path)!r} and not happened
    if hit:
        happened.append(1)
    if hit and {when!r} == "before":
        {code}
    found = original_prepare(self, entry, *arguments)
    if hit and {when!r} == "after":
        {code}
    return found
encoder_module.PhotographEncoder._prepare = prepare
"""


def test_a_provider_that_fails_half_way(workplace: Workplace) -> None:
    failing = """
import engine.runtime as runtime
calls, original_open = [], runtime._open_on
class Failing:
    def __init__(self, session):
        self.session = session
    def __getattr__(self, name):
        return getattr(self.session, name)
    def run(self, *arguments):
        calls.append(1)
        if len(calls) >= 4:
            raise RuntimeError('Failed to allocate memory for requested buffer of size 4294967296')
        return self.session.run(*arguments)
def opened(*arguments):
    found = original_open(*arguments)
    found._session = Failing(found._session)
    return found
runtime._open_on = opened
"""
    code, _, err = workplace.run(prelude=SMALL_SHARDS + failing)
    assert code == 1
    assert "CPUExecutionProvider failed on 1 image" in err
    assert "Failed to allocate memory" in err
    assert "Traceback" not in err
    check_complete_files(workplace.exports)
    code, out, _ = workplace.run(prelude=SMALL_SHARDS)
    assert code == 0
    assert "1 encoded, 3 reused" in out
    assert everything(workplace.exports) == expected_of(workplace)


def shards_of(workplace: Workplace) -> list[Path]:
    return sorted(workplace.exports.glob("pair_match/*_matches/*/matches-*.h5"))


@pytest.mark.parametrize("harm", ["deleted", "folder deleted", "damaged in place", "cut", "JSON deleted", "JSON cut"])
def test_either_half_of_the_results_lost_is_made_good(harm: str, workplace: Workplace) -> None:
    """A pair is done only when JSON and HDF5 have it."""
    expected = expected_of(workplace)
    assert workplace.run(prelude=SMALL_SHARDS)[0] == 0
    shards = shards_of(workplace)
    texts = sorted((workplace.exports / "pair_match").rglob("*.json"))
    match harm:
        case "deleted":
            shards[0].unlink()
        case "folder deleted":
            for path in shards[0].parent.iterdir():
                path.unlink()
            shards[0].parent.rmdir()
        case "damaged in place":
            data = bytearray(shards[0].read_bytes())
            data[len(data) // 2] ^= 0xFF
            facts = shards[0].stat()
            shards[0].write_bytes(data)
            os.utime(shards[0], ns=(facts.st_atime_ns, facts.st_mtime_ns))
        case "cut":
            shards[0].write_bytes(shards[0].read_bytes()[:-100])
        case "JSON deleted":
            for path in texts[:4]:
                path.unlink()
        case "JSON cut":
            texts[0].write_bytes(texts[0].read_bytes()[:200])
    code, out, err = workplace.run(prelude=SMALL_SHARDS)
    assert (code, err) == (0, "")
    if harm in ("damaged in place", "cut"):
        assert f"{shards[0]}: damaged" in out
        shards[0].unlink()
    if harm.startswith("JSON"):
        assert "JSON file(s) written from results that were stored already" in out
        assert shards_of(workplace) == shards
    assert everything(workplace.exports) == expected
    code, out, _ = workplace.run(prelude=SMALL_SHARDS)
    assert code == 0
    assert "6 pair(s) already done" in out


def test_a_photograph_that_was_only_touched_is_not_encoded_again(workplace: Workplace) -> None:
    """Size and time are looked at first, the content's digest when they differ."""
    touched, changed = (workplace.images / f"B2_200/B2_200_000{frame}.jpg" for frame in (1, 2))
    content = changed.read_bytes()
    changed.write_bytes(content + b"\0")  # what follows a JPEG's end is ignored
    assert workplace.run()[0] == 0
    os.utime(touched, ns=(1, 1))
    changed.write_bytes(content + b"\1")
    os.utime(changed, ns=(2, 2))
    code, out, err = workplace.run()
    assert (code, err) == (0, "")
    assert "1 encoded, 3 reused" in out
    os.utime(touched, ns=(3, 3))
    assert "0 encoded, 4 reused" in workplace.run()[1]
