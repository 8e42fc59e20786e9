"""The exit codes of all commands, and which of them an error leads to."""

from __future__ import annotations

from enum import IntEnum

from shared.errors import ErrorCode


class ExitCode(IntEnum):
    """What a command's exit code means."""

    FINE = 0
    WRONG = 1
    USAGE = 2
    LATER = 3
    INTERRUPTED = 130
    UNREAD = 141


# What may be otherwise the next time, without anybody's doing.
_LATER = frozenset({ErrorCode.STORAGE_UNREACHABLE, ErrorCode.DISK_FULL, ErrorCode.BUSY})


def code_of(error: ErrorCode) -> ExitCode:
    """Return the exit code of a command that could not be carried out."""
    return ExitCode.LATER if error in _LATER else ExitCode.USAGE
