"""Output that outlives its reader: what supervisord would have printed goes nowhere once it is dead.

A handler whose supervisord was killed still has its training to finish, and RunPod's SDK prints in the middle of taking
and answering jobs: there a broken pipe would cost the job.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class Unheard(io.TextIOWrapper):
    """Text for a pipe; when that breaks, for nobody."""

    def write(self, text: str) -> int:
        """Write ``text``, and return its length."""
        try:
            return super().write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        try:
            super().flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        """Lead the descriptor to where everything can be written, what is still in the buffers included."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def outlive_readers() -> None:
    """Let stdout and stderr of this process survive those who read them."""
    sys.stdout = _unheard(sys.stdout)
    sys.stderr = _unheard(sys.stderr)


def _unheard(stream: TextIO) -> TextIO:
    return Unheard(
        stream.buffer, stream.encoding, stream.errors, line_buffering=stream.isatty() or stream is sys.stderr
    )
