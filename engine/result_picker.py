"""Which result files to draw: all of them, or those a person picks from numbered lists in a terminal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from engine.errors import WorkError

_ALL = ("a", "-a", "--all", "all")
_QUIT = ("q", "quit", "exit")
_BACK = ("b", "back")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


class PickingStopped(Exception):  # noqa: N818 - leaving is no error
    """The person left without choosing."""


def result_folders(root: Path) -> dict[Path, list[Path]]:
    """Folders of result files (JSON) and their files in name order: those in `root`, and `root` itself.

    Raises:
        WorkError: the folder is missing, unreadable or holds no result files.
    """
    try:
        subfolders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        found = {folder: _json_files(folder) for folder in (root, *subfolders)}
    except FileNotFoundError as error:
        raise WorkError(
            f"the folder of result files {root} does not exist. Run 'engine match' first, or name the folder with "
            "--root"
        ) from error
    except OSError as error:
        raise WorkError(
            f"the folder of result files {root} cannot be read: {error.strerror or error}. "
            "Run 'engine match' first, or name the folder with --root"
        ) from error
    folders = {folder: files for folder, files in found.items() if files}
    if not folders:
        raise WorkError(
            f"no result files (.json) below {root}. Run 'engine match' first, or name the folder with --root"
        )
    return folders


def _json_files(folder: Path) -> list[Path]:
    names = (path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith("."))
    return sorted(path for path in names if path.is_file())


def pick_results(folders: dict[Path, list[Path]], stdin: TextIO, stdout: TextIO) -> list[Path]:
    """Asks for a folder, then for files of it; wrong answers are explained and asked again.

    Raises:
        PickingStopped: the person left, or the input ended.
    """
    listed = list(folders)
    while True:
        _show_list(stdout, [(folder.name or str(folder), _counted(len(folders[folder]))) for folder in listed])
        chosen = _ask_folder(len(listed), stdin, stdout)
        if chosen is None:
            return [path for files in folders.values() for path in files]
        files = folders[listed[chosen]]
        _show_list(stdout, [(path.name, "") for path in files])
        numbers = _ask_files(len(files), stdin, stdout)
        if numbers is not None:
            return [files[number] for number in numbers]


def parse_numbers(text: str, count: int) -> list[int]:
    """Indices from 0 of what a person typed, such as `2`, `1,3` or `2-5 8`, in that order and each once.

    Raises:
        ValueError: something else, or a number that is not in the list; the message can be shown.
    """
    chosen: dict[int, None] = {}
    for word in re.split(r"[,\s]+", text.strip()):
        found = _RANGE.fullmatch(word)
        if found is None:
            raise ValueError(f"'{word}' is no number of the list")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last <= count:
            raise ValueError(f"{word} is not within 1 to {count}")
        chosen.update(dict.fromkeys(range(first - 1, last)))
    return list(chosen)


def _ask_folder(count: int, stdin: TextIO, stdout: TextIO) -> int | None:
    """Index of a folder, or None for all."""
    while True:
        answer = _answer(f"Folder (1 to {count}), -a for all, q to leave: ", stdin, stdout)
        if answer.lower() in _ALL:
            return None
        if not answer:
            print("Type the number of a folder, or -a for all of them.", file=stdout)
            continue
        try:
            numbers = parse_numbers(answer, count)
        except ValueError as problem:
            print(f"{problem}.", file=stdout)
            continue
        if len(numbers) == 1:
            return numbers[0]
        print("One folder at a time, or -a for all of them.", file=stdout)


def _ask_files(count: int, stdin: TextIO, stdout: TextIO) -> Sequence[int] | None:
    """Indices of files, or None to go back to the folders."""
    while True:
        answer = _answer("Files (such as 2 or 1,3-5), Enter for all, b for back, q to leave: ", stdin, stdout)
        if not answer or answer.lower() in _ALL:
            return range(count)
        if answer.lower() in _BACK:
            return None
        try:
            return parse_numbers(answer, count)
        except ValueError as problem:
            print(f"{problem}.", file=stdout)


def _answer(question: str, stdin: TextIO, stdout: TextIO) -> str:
    print(question, end="", file=stdout, flush=True)
    try:
        line = stdin.readline()
    except KeyboardInterrupt as stop:
        print(file=stdout)
        raise PickingStopped from stop
    except UnicodeDecodeError:
        return "?"
    if not line:
        print(file=stdout)
        raise PickingStopped
    answer = line.strip()
    if answer.lower() in _QUIT:
        raise PickingStopped
    return answer


def _show_list(stdout: TextIO, rows: list[tuple[str, str]]) -> None:
    digits, width = len(str(len(rows))), max(len(name) for name, _ in rows)
    print(file=stdout)
    for number, (name, note) in enumerate(rows, 1):
        print(f"  {number:>{digits}}  {name:<{width}}  {note}".rstrip(), file=stdout)


def _counted(files: int) -> str:
    return f"{files} file" + ("" if files == 1 else "s")
