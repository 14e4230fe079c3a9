"""The findings as a page for people, and as JSON for programs."""

import json
import textwrap
from collections import Counter

from engine.doctor.finding import Finding, Section, Status, worst

_MARKS = {Status.OK: "ok", Status.WARNING: "WARNING", Status.PROBLEM: "PROBLEM"}
_MARK_WIDTH = 9
_NAME_WIDTH = 15


def section_text(section: Section, width: int = 80) -> str:
    """A section with an empty line after it, at most `width` columns wide where paths and commands allow."""
    lines = [line for finding in section.findings for line in _lines(finding, width)]
    return "\n".join([section.title, *lines, ""])


def conclusion(sections: tuple[Section, ...], width: int = 80) -> str:
    """The verdict, wrapped."""
    return textwrap.fill(verdict(sections), width)


def verdict(sections: tuple[Section, ...]) -> str:
    """One sentence about the whole machine."""
    counts = Counter(finding.status for section in sections for finding in section.findings)
    problems, warnings = counts[Status.PROBLEM], counts[Status.WARNING]
    also = f" {_counted(warnings, 'warning')}: the arrows say what could be better." if warnings else ""
    if problems:
        return f"{_counted(problems, 'problem')}: do what the arrows say, from the top, and run it again.{also}"
    return f"This machine can do the job.{also}"


def as_json(sections: tuple[Section, ...]) -> str:
    """`{"verdict", "said", "checks": [{"section", "name", "status", "text", "advice"}]}`."""
    checks = [
        {
            "section": section.title,
            "name": finding.name,
            "status": finding.status.value,
            "text": finding.text,
            "advice": finding.advice,
        }
        for section in sections
        for finding in section.findings
    ]
    said = {"verdict": worst(sections).value, "said": verdict(sections), "checks": checks}
    return json.dumps(said, indent=1, ensure_ascii=False)


def _lines(finding: Finding, width: int) -> list[str]:
    indent = " " * (2 + _MARK_WIDTH + _NAME_WIDTH)
    head = f"  {_MARKS[finding.status]:<{_MARK_WIDTH}}{finding.name:<{_NAME_WIDTH}}"
    if len(finding.name) >= _NAME_WIDTH:
        head += " "
    lines = _wrapped(finding.text, head, indent, width)
    if finding.advice:
        lines += _wrapped(finding.advice, f"{indent}-> ", f"{indent}   ", width)
    return lines


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    # Paths and commands are kept whole: a broken one cannot be copied.
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
