"""The folders the program writes to: can it, and is there room?"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.doctor.finding import Finding, Status, ok, problem, warning
from engine.store.atomic import write_error

LITTLE_BYTES = 5 * 10**9
TOO_LITTLE_BYTES = 10**8


WRITTEN = {
    "EXPORT_ROOT": "exports",
    "GRAPH_ROOT": "graphs",
    "EMBED_ROOT": "embeds",
    "MATCH_ROOT": "matches",
    "VIS_ROOT": "pictures",
}
"""Variables of the folders that are written to, and their names in `Roots`."""


def check_folders(roots: Mapping[str, Path]) -> list[Finding]:
    """A finding for each folder that is written to, and one for the disk's free space of each.

    Args:
        roots: the folders that are known, by their names in `Roots`.
    """
    written = {variable: roots[root] for variable, root in WRITTEN.items() if root in roots}
    findings = {name: check_writable(name, folder) for name, folder in written.items()}
    # One line for the export folder and the good ones below it; a bad one has a line of its own.
    exports = written.get("EXPORT_ROOT")
    below = [
        name
        for name, folder in written.items()
        if name != "EXPORT_ROOT"
        and exports is not None
        and folder.is_relative_to(exports)
        and findings[name].status is Status.OK
    ]
    if below and findings["EXPORT_ROOT"].status is Status.OK:
        whole = f"{findings['EXPORT_ROOT'].text}; so can {', '.join(below)} below it"
        findings = {name: finding for name, finding in findings.items() if name not in below}
        findings["EXPORT_ROOT"] = ok("EXPORT_ROOT", whole)
    return [*findings.values(), *check_space([*written.values()])]


def check_writable(name: str, folder: Path) -> Finding:
    """Writes a file in the folder, or in the nearest one above it that exists, and removes it again."""
    existing = next((at for at in (folder, *folder.parents) if os.path.lexists(at)), Path(folder.anchor))
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".doctor-") as file:
            file.write(b"written by a check, and removed")
            file.flush()
    except OSError as error:
        said, _, advice = str(write_error(folder, error)).partition(". ")
        return problem(name, said, f"{advice or 'choose another output folder'} (set {name})")
    return ok(name, f"{folder} can be written" + ("" if existing == folder else " (not made yet)"))


def check_space(folders: list[Path]) -> list[Finding]:
    """Free space, once per disk."""
    findings: dict[int, Finding] = {}
    for folder in folders:
        existing = next((at for at in (folder, *folder.parents) if at.is_dir()), None)
        if existing is None:
            continue
        device = existing.stat().st_dev
        if device not in findings:
            findings[device] = judge_space(existing, shutil.disk_usage(existing).free)
    return list(findings.values())


def judge_space(folder: Path, free_bytes: int) -> Finding:
    """Whether so much free space will do. A stored feature map takes about 1 MB, a JSON file with its picture 5 MB."""
    text = f"{free_bytes / 1e9:,.1f} GB at {folder}"
    if free_bytes < TOO_LITTLE_BYTES:
        return problem("free disk", text, "free some space, or set EXPORT_ROOT to another disk")
    if free_bytes < LITTLE_BYTES:
        return warning("free disk", text, "enough for some thousand pairs without pictures; free some space for more")
    return ok("free disk", text)
