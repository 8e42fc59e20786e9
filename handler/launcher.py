"""The process between handler and trainer: runs the trainer and writes down how it ended.

A handler that is killed and restarted is not the trainer's parent any more, and only a parent learns an exit code. The
launcher lives as long as the training, so it imports nothing but the standard library and the writing of atomic files.

Usage, from Ferry's own folder: ``python -m handler.launcher EXIT_FILE FOLDER COMMAND…``. The command runs in
``FOLDER``, in a session of its own, with the launcher's environment, output and input.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

# What a shell answers for a command that cannot be started.
CANNOT_START = 127
_FORWARDED = (signal.SIGINT, signal.SIGTERM)
_IGNORED = (signal.SIGHUP,)
# For so many seconds a disk that is full, or a volume that stutters, is asked to take the exit code.
_MOST_ATTEMPTS = 60


class Launcher:
    """One trainer, from its start to its end."""

    def __init__(self, folder: str, command: Sequence[str]) -> None:
        self._folder = folder
        self._command = command
        self._trainer: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run the trainer and return its exit code: negative for a signal's number, 127 where it did not start."""
        self._take_signals()
        try:
            self._trainer = subprocess.Popen(self._command, cwd=self._folder, start_new_session=True)
        except OSError as error:
            print(f"ferry: the trainer cannot be started: {error}", file=sys.stderr, flush=True)
            return CANNOT_START
        return self._trainer.wait()

    def _take_signals(self) -> None:
        # Signals with a handler of Python's are back at their default in the trainer, while ignored ones stay ignored:
        # ai-toolkit started with SIGINT ignored could not be stopped politely.
        for number in (*_FORWARDED, *_IGNORED):
            signal.signal(number, self._forward)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if number in _FORWARDED and self._trainer is not None:
            self._trainer.send_signal(number)


def write_exit(path: Path, code: int, at: float) -> None:
    """Write ``trainer.exit`` in the contract's format, without the library that defines it."""
    write_atomic(path, json.dumps({"version": 1, "code": code, "at": at}).encode() + b"\n")


def note(path: Path, code: int, sleep: Callable[[float], object] = time.sleep) -> None:
    """Write down how the trainer ended, as soon as the disk takes it."""
    at, attempts = time.time(), 0
    while True:
        attempts += 1
        try:
            write_exit(path, code, at)
        except OSError as error:
            if attempts == _MOST_ATTEMPTS:
                # Without the file the handler judges by what is on the disk.
                print(f"ferry: {path} cannot be written: {error}", file=sys.stderr, flush=True)
                return
            sleep(1)
        else:
            return


def main(arguments: Sequence[str]) -> None:
    """Run the command of ``arguments`` and write its exit code to the exit file."""
    exit_file, folder, *command = arguments
    code = Launcher(folder, command).run()
    note(Path(exit_file), code)


if __name__ == "__main__":
    main(sys.argv[1:])
