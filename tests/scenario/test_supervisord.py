"""The container's own supervisord.conf: what is killed comes back, and a worker that cannot work ends."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from shared.contract.upload import Worker
from shared.layout import worker_file
from tests.scenario.stack import PROJECT, Stack, end, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("uploader", "handler", "guard")


class Supervised:
    """The worker under supervisord, as the container starts it; ``python`` is what the programs are started with."""

    def __init__(self, stack: Stack, run: Path, python: Path) -> None:
        self._stack = stack
        self._socket = run / "supervisor.sock"
        self._log = stack.folder / "supervisord.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("supervisord")), "-c", str(PROJECT / "supervisord.conf")],
                cwd=run,
                env={
                    **stack.environ,
                    "FERRY_PYTHON": str(python),
                    "FERRY_HOME": str(PROJECT),
                    "FERRY_RUN": str(run),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        stack.processes.append(self.process)

    def log(self) -> str:
        """Return what the container has printed."""
        return self._log.read_text(errors="replace")

    def info(self, program: str) -> dict[str, Any]:
        """Return what supervisord says of a program; nothing while supervisord cannot be asked."""
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            try:
                told: Any = proxy.supervisor.getProcessInfo(program)
            except OSError:
                return {}
        return dict(told)

    def running(self, program: str, other_than: int = 0) -> int:
        """Return the pid of a program that has come up, and is not ``other_than``; 0 while it has not."""
        info = self.info(program)
        return int(info["pid"]) if info.get("statename") == "RUNNING" and info["pid"] != other_than else 0

    def up(self, program: str, other_than: int = 0) -> int:
        """Wait until a program has come up, in another process than ``other_than``, and return its pid."""
        return until(lambda: self.running(program, other_than), f"{program} under supervisord", 30)

    def beat(self) -> Worker | None:
        """Return the uploader's newest sign of life."""
        return Worker.read(worker_file(self._stack.root, self._stack.environ["RUNPOD_POD_ID"]))


@contextmanager
def supervised(folder: Path, python: Path = Path(sys.executable)) -> Iterator[Supervised]:
    # A socket's path has little room, less than a test's folder may take.
    with stack(folder) as made, tempfile.TemporaryDirectory(prefix="ferry-") as run:
        yield Supervised(made, Path(run), python)


def test_each_program_comes_back_and_at_the_end_the_handler_goes_before_the_uploader(tmp_path: Path) -> None:
    with supervised(tmp_path) as worker:
        before = {program: worker.up(program) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 1, "the handler")
        for pid in before.values():
            psutil.Process(pid).kill()
        after = {program: worker.up(program, before[program]) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 2, "the handler again, ready for jobs")
        beat = until(lambda: (now := worker.beat()) and now.pid == after["uploader"] and now, "the new uploader's beat")
        until(lambda: (now := worker.beat()) and now.at > beat.at, "its next beat")
        assert end(worker.process, signal.SIGTERM) == 0
        log = worker.log()
        assert 0 < log.rindex("stopped: handler") < log.rindex("uploader stopped") < log.rindex("stopped: uploader")


def test_a_handler_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$2" = handler ]; then unset SUPABASE_URL; fi\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o700)
    with supervised(tmp_path, python) as worker:
        uploader = worker.up("uploader")
        assert worker.process.wait(60) == 0
        log = worker.log()
        assert log.count("SUPABASE_URL is not set") == 6
        assert 0 < log.index("entered FATAL state") < log.index("the container ends") < log.index("uploader stopped")
        assert not psutil.pid_exists(uploader)
