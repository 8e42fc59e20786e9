"""A command at a terminal: what it has drawn there when it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.scenario.uploader.port import PROJECT

if TYPE_CHECKING:
    from tests.scenario.uploader.port import Port

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ROWS = 40


@dataclass(frozen=True, slots=True)
class Seen:
    """The exit code, and everything that reached the terminal."""

    code: int
    drawn: str

    @property
    def text(self) -> str:
        """Return what was drawn, line after line, without colours and movements."""
        return _ESCAPE.sub("", self.drawn).replace("\r\n", "\n").replace("\r", "\n")


def at_terminal(port: Port, *arguments: str, columns: int = 80, **environ: str) -> Seen:
    """Run a command of the uploader at a terminal of ``columns`` columns, to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    without = {"NO_COLOR", "COLUMNS", "LINES"}
    process = subprocess.Popen(
        [sys.executable, "-m", "uploader", *arguments],
        cwd=PROJECT,
        env={
            **{name: value for name, value in port.environ.items() if name not in without},
            "TERM": "xterm-256color",
            **environ,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    port.processes.append(process)
    drawn = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return Seen(process.wait(60), drawn.decode(errors="replace"))


def _read(descriptor: int) -> bytes:
    """Return what there is to read; nothing when the terminal's other end is closed."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
