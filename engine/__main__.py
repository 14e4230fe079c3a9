"""`python -m engine`, and the command `engine`."""

import os
import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    # NumPy's products here are small ones in threads of our own. OpenBLAS would use all cores for each and let its
    # threads spin in between, which takes the cores from the graph: 166 ms a photograph in place of 105 (two cores).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from engine.cli import main as run
    except ImportError as error:
        sys.exit(_why_it_cannot_start(error))
    sys.exit(run())


def _why_it_cannot_start(error: ImportError) -> str:
    """What `engine doctor` would say of the packages, where one of them is missing or broken.

    Raises:
        ImportError: the packages are sound, so that the fault is the program's own.
    """
    from engine.doctor.finding import Section, Status, worst
    from engine.doctor.packages import check_packages
    from engine.doctor.page import section_text

    section = Section("program", tuple(check_packages()))
    if worst((section,)) is not Status.PROBLEM:
        raise error
    return f"engine: it cannot start, because {error}\n\n{section_text(section)}"


if __name__ == "__main__":
    main()
