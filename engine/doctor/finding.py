"""What a check found: one line of the page, with its status and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a finding stands. Only a problem keeps the program from its work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        name: what was looked at, a word or two.
        status: ok, warning or problem.
        text: what was found.
        advice: what to do; empty where nothing is to be done.
    """

    name: str
    status: Status
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Section:
    """Findings under one heading."""

    title: str
    findings: tuple[Finding, ...]


def ok(name: str, text: str) -> Finding:
    """Something that is as it should be."""
    return Finding(name, Status.OK, text)


def warning(name: str, text: str, advice: str) -> Finding:
    """Something that works but may not be what was meant."""
    return Finding(name, Status.WARNING, text, advice)


def problem(name: str, text: str, advice: str) -> Finding:
    """Something that keeps the program from its work."""
    return Finding(name, Status.PROBLEM, text, advice)


def worst(sections: tuple[Section, ...]) -> Status:
    """The worst status of all findings."""
    found = {finding.status for section in sections for finding in section.findings}
    return next((status for status in (Status.PROBLEM, Status.WARNING) if status in found), Status.OK)
