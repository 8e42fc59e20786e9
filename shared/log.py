"""Log events: a fixed name, data in fields, one line each, and no secret in any of them."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "***"
# What is masked by name when a variable's value looks like a secret; short values would blank out ordinary words.
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_SHORTEST_SECRET = 8


def secrets_of(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the values in ``environ`` that must show nowhere: those whose variable's name says so."""
    return frozenset(
        value
        for name, value in environ.items()
        if len(value) >= _SHORTEST_SECRET and any(word in name.upper() for word in _SECRET_WORDS)
    )


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret replaced. Longer ones go first, since one may lie inside another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


class _MaskedFormatter(logging.Formatter):
    def __init__(self, secrets: frozenset[str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record), self._secrets)


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
    handler.setFormatter(_MaskedFormatter(secrets_of(os.environ)))
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
    text = str(value)
    return repr(text) if not text or any(character.isspace() for character in text) else text
