"""How a log line is written: for a person at a terminal, for a log file, or as JSON. No secret shows in any of them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.secrecy import Secrets, mask
from shared.sizes import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_DIM, _YELLOW, _RED, _PLAIN = "\x1b[2m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_SIZES = frozenset({"bytes", "sent", "free", "bytes_total"})


class LogFormat(StrEnum):
    """What the log is written for: people, or programs."""

    TEXT = "text"
    JSON = "json"


class TextLines(logging.Formatter):
    """Time, level, program, event and fields, as a container's log keeps them."""

    def __init__(self, line: str = "%(asctime)s %(levelname)-7s %(name)s ", time: str = "%Y-%m-%dT%H:%M:%S") -> None:
        super().__init__(f"{line}%(message)s", time)
        self._secrets = Secrets()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and behind it the traceback of a defect."""
        return mask(super().format(record), self._secrets())


class TerminalLines(TextLines):
    """Time of day, event, the session and the other fields; trouble is called by its name, and in colour."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s ", "%H:%M:%S")
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class calls it so
        """Return the line."""
        event, fields = _event(record)
        session = fields.get("session")
        trouble = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        told = [_word(_size(name, value), name) for name, value in fields.items() if name != "session"]
        parts = [
            self._in(_DIM, record.asctime),
            self._in(_RED if record.levelno >= logging.ERROR else _YELLOW if trouble else "", f"{trouble}{event}"),
            *([] if session is None else [self._in(_DIM, _shown(session))]),
            *told,
        ]
        return " ".join(parts)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour and colour else text


class JsonLines(TextLines):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``program``, ``event``, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object. What no event is, a library's line, is the ``message`` of an event called ``log``."""
        event, fields = _event(record)
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "program": record.name,
            "event": event if hasattr(record, "event") else "log",
            **(fields if hasattr(record, "event") else {"message": record.getMessage()}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        secrets = self._secrets()
        return json.dumps({name: _masked(value, secrets) for name, value in told.items()})


def text_of(event: str, fields: Mapping[str, object]) -> str:
    """Return an event and its fields as one line."""
    return " ".join([event, *(_word(value, name) for name, value in fields.items())])


def _event(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    event: str = getattr(record, "event", "") or record.getMessage()
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return event, fields


def _word(value: object, name: str) -> str:
    return f"{name}={_shown(value)}"


def _size(name: str, value: object) -> object:
    return shown(value).replace(" ", "") if name in _SIZES and isinstance(value, int) else value


def _shown(value: object) -> str:
    """Return a value as one word: what a terminal would not show, or would obey, is written as an escape."""
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)


def _masked(value: object, secrets: Collection[str]) -> object:
    """Return a value as JSON has it. A number stays one unless it is a secret."""
    if isinstance(value, list | tuple):
        return [_masked(each, secrets) for each in value]
    text = mask(str(value), secrets)
    return value if (value is None or isinstance(value, bool | int | float)) and text == str(value) else text
