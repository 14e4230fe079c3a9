"""A real session on each provider of this ONNX Runtime: does it start, and which operators does it take?"""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.doctor.finding import Finding, ok, problem, warning
from engine.providers import PROVIDERS

AGREEING_COSINE = 0.999
"""Tokens of two providers are called equal from this cosine on; rounding alone gives 0.9999 and more."""

_LISTED = 4
_HOME = Path(__file__).resolve().parents[2]
_TIMEOUT_S = {"TensorrtExecutionProvider": 300}
"""TensorRT compiles the graph before it runs it."""


def check_sessions() -> list[Finding]:
    """A finding for each provider that this program can use and this ONNX Runtime has."""
    import onnxruntime

    short = {full: name for name, full in PROVIDERS.items()}
    available = [name for name in onnxruntime.get_available_providers() if name in short]
    return [judge(short[name], name, run_trial(name)) for name in available]


def run_trial(name: str) -> dict[str, Any]:
    """What `engine.doctor.trial` says of a provider; its way of ending, where it could not say anything."""
    path = os.pathsep.join(filter(None, (str(_HOME), os.environ.get("PYTHONPATH", ""))))
    limit_s = _TIMEOUT_S.get(name, 90)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engine.doctor.trial", name],
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it did not end within {limit_s} s"}
    try:
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"error": f"the process ended with {_ending(done.returncode)}: {last}"}
    return {**told, "said": done.stderr}


def judge(short: str, name: str, told: dict[str, Any]) -> Finding:
    """The finding about one provider.

    Args:
        short: the provider as `--provider` takes it.
        name: ONNX Runtime's name.
        told: what the trial gave (see `engine.doctor.trial.try_provider`).
    """
    cpu = name == PROVIDERS["cpu"]
    say = problem if cpu else warning
    instead = "install ONNX Runtime again" if cpu else "the CPU works without it; see the lines above for its libraries"
    if "error" in told:
        return say(f"on {short}", f"does not run: {told['error']}{_native_reason(told)}", instead)
    if told["first"] != name:
        return say(f"on {short}", f"does not start, ONNX Runtime took {told['first']}{_native_reason(told)}", instead)
    if not math.isfinite(told["cosine"]) or told["cosine"] < AGREEING_COSINE:
        return problem(
            f"on {short}",
            f"WRONG RESULTS: tokens differ from the CPU's (smallest cosine {told['cosine']:.4f})",
            "update driver and ONNX Runtime; until then, work with --provider cpu",
        )
    operators = told["operators"]
    here = sum(operators.get(name, {}).values())
    elsewhere = {op: count for other, ops in operators.items() if other != name for op, count in ops.items()}
    text = f"runs, {here} operators there" + ("" if cpu else f", {sum(elsewhere.values())} left to the CPU")
    if elsewhere:
        most = sorted(elsewhere.items(), key=lambda item: (-item[1], item[0]))
        text += f" ({', '.join(f'{count} {op}' for op, count in most[:_LISTED])}{', …' if len(most) > _LISTED else ''})"
    if here == 0:
        return warning(f"on {short}", text, "it takes none of the graph's operators, so it gains nothing")
    return ok(f"on {short}", text if cpu else f"{text}; tokens as the CPU's (cosine {told['cosine']:.5f})")


def _native_reason(told: dict[str, Any]) -> str:
    """The line that native code printed about it; ONNX Runtime tells the reason of a fall-back only there."""
    lines = [
        line.strip() for line in told.get("said", "").splitlines() if "error" in line.lower() or "fail" in line.lower()
    ]
    return f". {lines[0][:300]}" if lines else ""


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
