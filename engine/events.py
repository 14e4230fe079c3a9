"""Events: what happens in a run, under fixed names, for log files and for other programs (`--json-log`).

`emit` hands an event to Python's own `logging`; who listens is decided once, in `engine.logs`. Nobody listening, it
costs about a microsecond.
"""

import logging
from dataclasses import dataclass

LOGGER = logging.getLogger("engine.events")
# Without a handler, Python would print the bare names of warnings and errors, which the program words itself.
LOGGER.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class EventKind:
    """A kind of event: what it means, the fields it always has, and the level it is logged at."""

    meaning: str
    fields: tuple[str, ...]
    level: int = logging.INFO


EVENTS: dict[str, EventKind] = {
    "run_started": EventKind("a command begins", ("command", "arguments", "versions")),
    "photographs_found": EventKind("the data set was scanned", ("photographs", "pairs")),
    "graph_opened": EventKind("a graph was loaded", ("alias", "path", "provider", "sha256")),
    "image_encoded": EventKind("a photograph has its feature map", ("key", "path"), logging.DEBUG),
    "image_failed": EventKind("a photograph cannot be read", ("key", "path", "reason"), logging.WARNING),
    "pair_matched": EventKind(
        "two photographs were matched; model: a geometry was found; same_place: the verdict's probability, or null",
        ("a", "b", "matches", "inliers", "model", "cosine", "same_place"),
        logging.DEBUG,
    ),
    "graph_exported": EventKind("a graph was written and compared with its source", ("alias", "precision", "path")),
    "file_written": EventKind("a file is complete under its final name", ("path",), logging.DEBUG),
    "progress": EventKind("how far long work is", ("what", "done", "total", "elapsed_s")),
    "warning": EventKind("something to know that does not stop the run", ("message",), logging.WARNING),
    "error": EventKind("why the run failed", ("message", "kind"), logging.ERROR),
    "run_stopped": EventKind("Ctrl-C, or SIGTERM", ("signal",), logging.WARNING),
    "run_finished": EventKind("the command ends; always the last event", ("command", "exit_code", "seconds")),
}
"""Every event there is. A test holds calls of `emit` and `docs/logs.md` against this table."""


def emit(event: str, **fields: object) -> None:
    """Tells whoever listens that something happened.

    Args:
        event: a name of `EVENTS`.
        fields: what `EVENTS` promises for it; more may be added. Texts, numbers, lists and mappings stay what they are
            in JSON, anything else (a path, for example) becomes text.
    """
    kind = EVENTS.get(event)
    level = logging.INFO if kind is None else kind.level
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, event, extra={"event": event, "fields": fields})
