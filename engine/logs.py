"""Where messages of a run go: the terminal (`-v`, `-q`), a log file (`--log-file`), events as JSON (`--json-log`)."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from tqdm import tqdm

from engine.errors import WorkError
from engine.progress import progress_hidden

PROGRAM = logging.getLogger("engine")
PRINTED = logging.getLogger("engine.printed")
"""What the program printed, for log files."""


@dataclass(frozen=True)
class LogOptions:
    """What a person asked for.

    Attributes:
        verbose: 1: events of the run on standard error; 2 or more: also those of every photograph, pair and file.
        quiet: nothing on standard output and no progress; warnings and errors stay.
        log_file: gets everything, with times; appended to.
        json_log: gets every event as one JSON object per line; appended to.
    """

    verbose: int = 0
    quiet: bool = False
    log_file: str | None = None
    json_log: str | None = None


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with `***` for the value of every option that ends in `-token`."""
    shown: list[str] = []
    for word in arguments:
        if shown and shown[-1].startswith("--") and shown[-1].endswith("-token"):
            shown.append("***")
        elif word.startswith("--") and word.partition("=")[0].endswith("-token") and "=" in word:
            shown.append(f"{word.partition('=')[0]}=***")
        else:
            shown.append(word)
    return shown


@contextlib.contextmanager
def logging_to(options: LogOptions) -> Iterator[None]:
    """Sends messages where they were asked for, until the block ends.

    Raises:
        WorkError: a log cannot be opened.
    """
    root = logging.getLogger()
    level = root.level
    with contextlib.ExitStack() as stack:
        handlers = _handlers(options)
        for handler in handlers:
            root.addHandler(handler)
            stack.callback(_remove, root, handler)
        if handlers:
            root.setLevel(logging.DEBUG)
            stack.callback(root.setLevel, level)
        if options.quiet:
            stack.enter_context(progress_hidden())
        if options.quiet or options.log_file is not None:
            stack.enter_context(contextlib.redirect_stdout(_logged(sys.stdout, shown=not options.quiet)))
            stack.enter_context(contextlib.redirect_stderr(_logged(sys.stderr)))
        yield


class LoggedStream:
    """Standard output or error whose whole lines are also logged. A bar, redrawn by carriage returns, is not."""

    def __init__(self, stream: TextIO, shown: bool = True) -> None:
        self._stream = stream
        self._shown = shown
        self._muted = False
        self._pending = ""

    def write(self, text: str) -> int:
        """Passes text on, and logs the lines that it completes."""
        if self._shown:
            self._stream.write(text)
        if not self._muted:
            *lines, self._pending = (self._pending + text).split("\n")
            for line in lines:
                visible = line.rpartition("\r")[2].rstrip()
                if visible:
                    PRINTED.info(visible)
        return len(text)

    @contextlib.contextmanager
    def unlogged(self) -> Iterator[None]:
        """While this lasts, what is written is not logged: it is already, as an event."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class EventFormatter(logging.Formatter):
    """One JSON object per record: `time` (UTC), `level`, `event`, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        fields: dict[str, object] = getattr(record, "fields", {})
        if event is None:
            # A warning of a library, or of a module that knows no event for it.
            event = "error" if record.levelno >= logging.ERROR else "warning"
            fields = {"message": record.getMessage(), "logger": record.name}
            fields |= {"kind": record.name} if event == "error" else {}
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"time": time, "level": record.levelname.lower(), "event": event}
        return json.dumps(head | fields, ensure_ascii=False, default=_plain)


class TextFormatter(logging.Formatter):
    """A line of a log file or of `-v`: an event with its fields, or a message as it is."""

    def __init__(self, with_date: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s")
        self.datefmt = "%Y-%m-%dT%H:%M:%S" if with_date else "%H:%M:%S"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name logging gave it
        event = getattr(record, "event", None)
        if event is not None:
            record.message = event_text(str(event), getattr(record, "fields", {}))
        return super().formatMessage(record)


def event_text(event: str, fields: dict[str, object]) -> str:
    """An event as people read it: of one whose only news is a message, the message."""
    if event in ("warning", "error"):
        return str(fields.get("message", event))
    shown = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=False, default=_plain)}" for name, value in fields.items()
    )
    return f"{event} {shown}".rstrip()


class _BesideBars(logging.Handler):
    """Writes to standard error, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr
        unlogged = getattr(stream, "unlogged", contextlib.nullcontext)
        with unlogged():
            tqdm.write(self.format(record), file=stream)


def _handlers(options: LogOptions) -> list[logging.Handler]:
    made: list[logging.Handler] = []
    try:
        if options.log_file is not None:
            made.append(_file_handler(options.log_file, "--log-file"))
            made[-1].setFormatter(TextFormatter(with_date=True))
        if options.json_log is not None:
            made.append(_file_handler(options.json_log, "--json-log"))
            made[-1].setFormatter(EventFormatter())
            made[-1].addFilter(lambda record: hasattr(record, "event") or record.levelno >= logging.WARNING)
    except WorkError:
        for handler in made:
            handler.close()
        raise
    if options.verbose:
        console = _BesideBars(logging.DEBUG if options.verbose > 1 else logging.INFO)
        console.setFormatter(TextFormatter(with_date=False))
        console.addFilter(_is_news)
        made.append(console)
    return made


def _is_news(record: logging.LogRecord) -> bool:
    """Whether `-v` shows a record: one of this program that is not on the terminal already."""
    of_ours = record.name == PROGRAM.name or record.name.startswith(f"{PROGRAM.name}.")
    return of_ours and record.name != PRINTED.name and getattr(record, "event", "") not in ("warning", "error")


def _file_handler(name: str, option: str) -> logging.FileHandler:
    path = Path(name).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise WorkError(
            f"{option} {path} cannot be written: {error.strerror or error}. Name a file in a folder that you may write"
        ) from error


def _remove(root: logging.Logger, handler: logging.Handler) -> None:
    root.removeHandler(handler)
    handler.close()


def _logged(stream: TextIO, shown: bool = True) -> TextIO:
    return cast(TextIO, LoggedStream(stream, shown))


def _plain(value: object) -> object:
    """Numbers of NumPy as numbers, anything else as text."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else str(value)
