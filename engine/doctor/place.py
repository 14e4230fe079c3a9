"""Where the program runs, container or host, and its settings: what `.env` and the environment say."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.context import running_in_container
from engine.doctor.dotenv_traps import dotenv_traps
from engine.doctor.finding import Finding, ok, problem, warning
from engine.dotenv import read_dotenv
from engine.errors import UsageError
from engine.settings import resolve_roots

_WSL_DRIVE = re.compile(r"/mnt/[a-z](/|$)")


def check_place() -> Finding:
    """Container, WSL or host."""
    if running_in_container():
        return ok("runs in", "this project's container")
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return ok("runs in", "a container, not this project's own")
    if is_wsl():
        return ok("runs in", "Linux inside Windows (WSL)")
    return ok("runs in", f"the machine itself, {platform.system()}")


def is_wsl(release: str | None = None) -> bool:
    """Whether this Linux runs inside Windows: its kernel says so."""
    return sys.platform == "linux" and "microsoft" in (platform.release() if release is None else release).lower()


def read_settings(folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Finding]]:
    """The values of `.env` overlaid by the environment's, and what is to be said of the file."""
    path = folder / ".env"
    if not os.path.lexists(path):
        return dict(environ), [ok(".env", f"none in {folder}: environment and defaults hold")]
    try:
        values = read_dotenv(path)
        findings = list(dotenv_traps(path, path.read_bytes()))
    except UsageError as error:
        return dict(environ), [problem(".env", str(error), "correct this line; .env.example shows the form")]
    return {**values, **environ}, findings or [ok(".env", f"{path}, {len(values)} values")]


def read_roots(values: Mapping[str, str]) -> tuple[dict[str, Path], list[Finding]]:
    """The folders by the names of `Roots`, what is wrong with paths, and folders that work but slowly."""
    roots, errors = resolve_roots(values)
    findings = []
    for said, _, advice in (str(error).partition(". ") for error in errors):
        findings.append(problem("paths", said, advice or "write the full path"))
    slow = [
        name
        for name, root in (("IMG_ROOT", "images"), ("EXPORT_ROOT", "exports"))
        if root in roots and is_wsl() and _WSL_DRIVE.match(roots[root].as_posix())
    ]
    if slow:
        findings.append(
            warning(
                "paths",
                f"{' and '.join(slow)} on a Windows drive, which WSL reads several times more slowly",
                "for large data sets, copy them below your home folder in WSL",
            )
        )
    return roots, findings
