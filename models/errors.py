"""Errors that a user can cause, each with its own message. Standard library only."""


class Dinov3MatchError(Exception):
    """Base of all errors this program raises on purpose. The message says what, which file, and what to do next."""

    exit_code = 1


class UsageError(Dinov3MatchError):
    """The command line, a setting or a name is wrong: exit code 2."""

    exit_code = 2


class WorkError(Dinov3MatchError):
    """The work itself failed (a file, the runtime, the disk): exit code 1."""
