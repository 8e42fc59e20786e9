"""Log events: a fixed name, data in fields, one line each, and no secret in any of them."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

from shared.log_lines import JsonLines, LogFormat, TerminalLines, TextLines, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment, because a progress bar takes its place while it is drawn."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """Accept what the base class sets, and go on asking."""


def configure(log_format: LogFormat = LogFormat.TEXT, level: int = logging.INFO) -> None:
    """Send log lines to stderr, masked, and keep libraries that log every request quiet."""
    handler = _StderrHandler()
    handler.setFormatter(_lines(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _lines(log_format: LogFormat) -> logging.Formatter:
    if log_format is LogFormat.JSON:
        return JsonLines()
    if not sys.stderr.isatty():
        return TextLines()
    return TerminalLines(colour=not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


class EventLog:
    """Writes events of one part of the program: ``log.info("checkpoint_saved", path=…, step=…)``.

    What belongs to a session has its id in the field ``session``.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Log something that a person following the run wants to know."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log trouble that Ferry deals with by itself."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log trouble that someone must act on."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log, inside an ``except`` block, what only a defect of Ferry itself raises, with its traceback."""
        self._write(logging.ERROR, event, fields, traceback=True)

    def _write(self, level: int, event: str, fields: Mapping[str, object], *, traceback: bool = False) -> None:
        extra = {"event": event, "fields": fields}
        self._logger.log(level, "%s", text_of(event, fields), exc_info=traceback, extra=extra)
