"""Processes that are measured: when they said what, and how much memory they took at most."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
_LOOK_SECONDS = 0.02


class FailedError(Exception):
    """A process that was to be measured did not do what it was started for. The text says what it printed."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line, and when it came, in Unix seconds."""

    at: float
    text: str


class Process:
    """A process whose output is read, and stamped, line by line. To be closed."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], given: str = "", cwd: Path = PROJECT
    ) -> None:
        self.command = command
        self.lines: list[Said] = []
        self.peak = 0
        self.started_at = time.time()
        self._heard = threading.Condition()
        self._process = subprocess.Popen(
            command, cwd=cwd, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._give(given)

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def finish(self) -> None:
        """Wait for its end. Raises FailedError unless it was content."""
        while not self.ended:
            self.note_memory()
            self._wait(_LOOK_SECONDS)
        self._reader.join()
        if self._process.returncode != 0:
            raise FailedError(f"{' '.join(self.command)} ended with {self._process.returncode}:\n{self.tail()}")

    def hear(self, word: str, seconds: float) -> Said:
        """Return the first line with ``word`` in it, and wait for it. Raises FailedError."""
        return self._first(lambda line: word in line.text, repr(word), seconds)

    def event(self, name: str, seconds: float, *, after: float = 0.0, **fields: object) -> Said:
        """Return Ferry's first line of an event with such fields that came after a moment, and wait for it.

        Raises FailedError.
        """
        words = {name, *(f"{field}={value}" for field, value in fields.items())}
        return self._first(lambda line: line.at >= after and words <= set(line.text.split()), repr(words), seconds)

    def _first(self, wanted: Callable[[Said], bool], what: str, seconds: float) -> Said:
        deadline, seen = time.monotonic() + seconds, 0
        while True:
            with self._heard:
                lines = self.lines[seen:]
                seen += len(lines)
                found = next((line for line in lines if wanted(line)), None)
                if found is not None:
                    return found
                if time.monotonic() >= deadline or (self.ended and not self._reader.is_alive()):
                    raise FailedError(f"{' '.join(self.command)} did not say {what}:\n{self.tail()}")
                self._heard.wait(_LOOK_SECONDS)
            self.note_memory()

    def note_memory(self) -> None:
        """Take note of the most memory that it has had so far."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return
        told = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if told is not None:
            self.peak = max(self.peak, int(told.split()[1]) * 1024)

    def forget_memory(self) -> None:
        """Begin anew with what ``note_memory`` takes note of."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self.peak = 0

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def close(self, seconds: float = 20.0) -> None:
        """End it if it lives, with all that it has started."""
        if not self.ended:
            children = psutil.Process(self.pid).children(recursive=True)
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
            for child in children:
                if child.is_running():
                    child.kill()
            self._process.wait()
        self._reader.join(seconds)

    def tail(self, count: int = 25) -> str:
        """Return the last lines that it has said."""
        return "\n".join(line.text for line in self.lines[-count:])

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        with self._process.stdout as output:
            for line in output:
                with self._heard:
                    self.lines.append(Said(time.time(), line.rstrip("\n")))
                    self._heard.notify_all()

    def _give(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
        # One that has ended already tells why by its exit code.
        with suppress(BrokenPipeError), self._process.stdin as given:
            given.write(text)

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
