"""What `engine vis` draws: result files that are named, picked or all, and pairs by the names of their photographs."""

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from engine.convert.runs import stored_runs
from engine.errors import UsageError, WorkError
from engine.result_picker import pick_results, result_folders
from engine.vis_pairs import DrawablePair, find_pair

if TYPE_CHECKING:
    from engine.cli_vis import VisOptions


def chosen_results(options: "VisOptions", match_root: Path, stdin: TextIO, stdout: TextIO) -> list[Path | DrawablePair]:
    """Result files, and pairs found by name. `match_root` is where they are unless `--root` says otherwise.

    Raises:
        UsageError: the options contradict each other, or name what is not there.
        WorkError: nothing is stored, or not the pair asked for.
        PickingStopped: the person left the lists without choosing.
    """
    root = Path(options.root).expanduser() if options.root else match_root
    if options.pair:
        return _named_pairs(options, root)
    if options.weights is not None or options.run is not None:
        raise UsageError("-w and --run choose among stored runs: add --pair IMAGE IMAGE")
    if options.files:
        files = [Path(name).expanduser() for name in options.files]
        for path in files:
            if not path.is_file():
                what = "is a folder: give it with --root" if path.is_dir() else "does not exist"
                raise UsageError(f"the result file {path} {what}. A pair without one is drawn with --pair")
        return [*files]
    folders = _result_folders(root)
    if stdin.isatty() and stdout.isatty() and not options.all:
        return [*pick_results(folders, stdin, stdout)]
    return [path for files in folders.values() for path in files]


def _result_folders(root: Path) -> dict[Path, list[Path]]:
    """As `result_folders`; where only the packed store holds pairs, the error says how to draw them."""
    try:
        return result_folders(root)
    except WorkError as error:
        runs = stored_runs(root)
        if not runs:
            raise
        listed = "\n  ".join(run.line() for run in runs)
        raise WorkError(
            f"no result files (.json) below {root}, but pairs of {len(runs)} stored run(s): draw one with "
            f"--pair IMAGE IMAGE\n  {listed}"
        ) from error


def _named_pairs(options: "VisOptions", root: Path) -> list[Path | DrawablePair]:
    if options.files or options.all:
        raise UsageError("--pair and result files or --all exclude each other: give one of them")
    if len(options.pair) % 2:
        raise UsageError(f"--pair takes two photographs, and {len(options.pair)} are given: {' '.join(options.pair)}")
    names = iter(options.pair)
    return [find_pair(root, a, b, options.weights, options.run) for a, b in zip(names, names, strict=True)]
