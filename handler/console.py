"""Bytes of ``trainer.out`` in, clean lines out.

Progress bars are written by tqdm: ``\\r`` first and no newline at their end, nested ones with newlines and cursor
movements. What begins after a ``\\r``, or ends at one, is a redraw: it replaces something that was on the screen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Beyond this a line is no text for people; it bounds the memory that output without a newline can take.
MAX_LINE_BYTES = 1 << 16

_END = re.compile(rb"\r?\n|\r")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line as a person would see it; ``redraw``: it was drawn over an earlier one, as bars are."""

    text: str
    redraw: bool = False


def clean(text: str) -> str:
    """Return ``text`` without escape sequences, control characters and blanks at its end."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).rstrip()


class LineReader:
    """Cuts a stream of bytes into lines, however the stream is cut into chunks.

    ``after_return`` says whether the stream is taken up right behind a ``\\r``.
    """

    def __init__(self, *, after_return: bool = False) -> None:
        self.after_return = after_return
        self.fed = 0
        self.consumed = 0
        self._pending = b""
        self._cut = 0

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that ``data`` completes. Of ``fed`` bytes these and earlier ones took ``consumed``."""
        self.fed += len(data)
        buffer = self._pending + data
        lines: list[Line] = []
        start = 0
        for match in _END.finditer(buffer):
            if match.end() == len(buffer) and match.group() == b"\r":
                break  # Perhaps the first half of \r\n.
            lines += self._close(buffer[start : match.start()], match.group())
            start = match.end()
        self._keep(buffer[start:])
        return lines

    def pending(self) -> Line | None:
        """Return what has been drawn since the last complete line: tqdm ends a bar only when it draws the next."""
        text = self._text(self._pending)
        return Line(text, redraw=True) if text else None

    def finish(self) -> list[Line]:
        """Return the last line, when the stream ended without completing it."""
        rest, self._pending = self._pending, b""
        return self._close(rest.rstrip(b"\r"), rest[len(rest.rstrip(b"\r")) :]) if rest else []

    def _keep(self, rest: bytes) -> None:
        kept = rest
        if len(rest) > MAX_LINE_BYTES:
            kept = rest[:MAX_LINE_BYTES] + (b"\r" if rest.endswith(b"\r") else b"")
            self._cut += len(rest) - len(kept)
        self._pending = kept

    def _close(self, content: bytes, end: bytes) -> list[Line]:
        line = Line(self._text(content), redraw=self.after_return or end == b"\r")
        self.consumed += len(content) + self._cut + len(end)
        self.after_return = end == b"\r"
        self._cut = 0
        return [line] if line.text or not line.redraw else []

    def _text(self, content: bytes) -> str:
        text = clean(content.decode("utf-8", "replace"))
        return f"{text} … ({self._cut} bytes more)" if self._cut else text
