"""``training.log``: the cleaned lines of a run, on disk for the uploader and on the console for who is watching."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.log import EventLog
from shared.log_lines import LogFormat
from shared.secrecy import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

TAIL_LINES = 200
MAX_SHOWN = 4000
# Enough of the file's end for so many lines of a usual length.
_TAIL_BYTES = TAIL_LINES * 200

log = EventLog("handler")


def to_stdout(text: str) -> None:
    """Print ``text``; a console that is gone, or that cannot show a character, is no reason to stop."""
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError, ValueError):
        print(text.encode(encoding, "replace").decode(encoding), flush=True)


def console(log_format: LogFormat, session_id: str) -> Callable[[str], None]:
    """Return what shows a line of the trainer: as it is, or, where the log is JSON, as an event like any other."""
    if log_format is LogFormat.TEXT:
        return to_stdout
    return lambda line: log.info("trainer_output", session=session_id, line=line)


class LogFile:
    """Appends lines to ``path``, masked and bounded.

    Up to ``length`` bytes the file is as it should be. What lies behind was written by a handler that was killed before
    it could say so: lines that are found there again are neither written nor printed a second time, and the first that
    differs cuts off the rest. ``begun`` is the length when this run began.
    """

    def __init__(
        self,
        path: Path,
        *,
        length: int,
        begun: int,
        console: Callable[[str], None] = to_stdout,
        secrets: Iterable[str] = (),
    ) -> None:
        self.length = length
        self.begun = begun
        self._path = path
        self._console = console
        self._secrets = frozenset(secrets)
        self._there = _bytes(path, length, None)
        self._unwritten = b""
        known = _bytes(path, max(begun, length - _TAIL_BYTES), length)
        self._tail = deque(known.decode("utf-8", "replace").splitlines(), maxlen=TAIL_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """Return the newest lines since the run began, at most 200."""
        return tuple(self._tail)

    @property
    def settled(self) -> bool:
        """Return whether everything that was added is in the file."""
        return not self._unwritten

    def begin(self) -> None:
        """Let a new run begin here."""
        self.begun = self.length
        self._tail.clear()

    def add(self, lines: Iterable[str]) -> None:
        """Append ``lines``. What the disk refuses is kept and tried again with the next ones; nothing is raised."""
        for line in lines:
            self._add(_bounded(mask(line, self._secrets)))
        if self._unwritten:
            with suppress(OSError):
                self._write()

    def _add(self, line: str) -> None:
        self._tail.append(line)
        content = line.encode("utf-8", "replace") + b"\n"
        if self._there.startswith(content):
            self._there = self._there[len(content) :]
            self.length += len(content)
            return
        if self._there:
            self._there = b""
            with suppress(OSError):
                os.truncate(self._path, self.length)
        self._unwritten += content
        self._console(line)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # Normally the length; another one where somebody removed or cut the file.
            self.length = file.tell()
            while self._unwritten:
                written = file.write(self._unwritten)
                self._unwritten = self._unwritten[written:]
                self.length += written


def _bounded(line: str) -> str:
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]} … ({len(line) - MAX_SHOWN} characters more)"


def _bytes(path: Path, start: int, end: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(-1 if end is None else max(0, end - start))
    except OSError:
        return b""
