"""`engine doctor`: one page that says whether this machine can do the job, and what to do if not."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.cli_options import option
from engine.plugin_registry import Registry, load_registry

WIDEST = 100


@dataclass(frozen=True)
class DoctorOptions:
    """Options of `engine doctor`."""

    full: bool = option(
        False, "--full", help="read every checkpoint for its hash and decode every photograph, which may take minutes"
    )
    json: bool = option(False, "--json", help="print one JSON object instead of the page")


def run_doctor(options: DoctorOptions) -> int:
    """Prints the findings as they come; exit code 1 when one is a problem, 0 with warnings or without."""
    from engine.doctor.checks import examine
    from engine.doctor.finding import Status, worst
    from engine.doctor.page import as_json, conclusion, section_text

    width = min(shutil.get_terminal_size().columns, WIDEST)
    sections = []
    for section in examine(Path.cwd(), os.environ, options.full, _plugins):
        sections.append(section)
        if not options.json:
            print(section_text(section, width), flush=True)
    found = tuple(sections)
    print(as_json(found) if options.json else conclusion(found, width))
    return 1 if worst(found) is Status.PROBLEM else 0


def _plugins() -> Registry:
    from plugins import BUILTINS

    return load_registry(BUILTINS)
