"""Imports the program once, and forks a process for each run asked for: starting one then takes no time.

Asked in lines of JSON on standard input, by `robust_runs.Forks`: a run is answered by its process number, and
`{"ask": pid}` by its exit code (negative: the signal that ended it), or null while it runs. ONNX Runtime is not among
what is imported: it starts a thread, and a forked process has none of them.
"""

import json
import os
import sys
from typing import Any

import cv2  # noqa: F401
import h5py  # noqa: F401

import engine.cli
import engine.cli_match
import engine.match_run  # noqa: F401


def serve() -> dict[str, Any] | None:
    """Answers until its input ends (None); in a forked process, returns what it shall run."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None
        if "ask" in asked:
            pid, status = os.waitpid(asked["ask"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return dict(asked)
        print(json.dumps(answer), flush=True)
    return None


def become(asked: dict[str, Any]) -> None:
    """Takes on the place, the environment, the arguments and the files of a run."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["-c", *asked["arguments"]]


if __name__ == "__main__":
    run = serve()
    if run is not None:
        become(run)
        exec(run["code"], {"__name__": "__main__"})
