"""Log events: a fixed name, data in fields, one line each, and no secret in any of them."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

from shared.secrecy import Secrets, mask

if TYPE_CHECKING:
    from collections.abc import Mapping


class _MaskedFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self._secrets = Secrets()

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record), self._secrets())


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment, because a progress bar takes its place while it is drawn."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """Accept what the base class sets, and go on asking."""


def configure(level: int = logging.INFO) -> None:
    """Send log lines to stderr, masked, and keep libraries that log every request quiet."""
    handler = _StderrHandler()
    handler.setFormatter(_MaskedFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class EventLog:
    """Writes events of one part of the program: ``log.info("checkpoint_saved", path=…, step=…)``."""

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

    def _write(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        self._logger.log(level, "%s", " ".join([event, *(f"{name}={_shown(value)}" for name, value in fields.items())]))


def _shown(value: object) -> str:
    """Return a value as one word: what a terminal would not show, or would obey, is written as an escape."""
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)
