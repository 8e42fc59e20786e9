"""The container's own supervisord.conf: what is killed comes back, and a worker that cannot work ends."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xmlrpc.client import ServerProxy

import psutil
import pytest
from supervisor.xmlrpc import SupervisorTransport

from shared.contract.upload import Worker
from shared.layout import worker_file
from tests.scenario.stack import PROJECT, Stack, end, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERVISORD = Path(sys.executable).with_name("supervisord")
PROGRAMS = ("uploader", "handler", "guard")
# A container sees no processes but its own. With it the guard sees no trainer of another test either.
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
CAN_CONTAIN = shutil.which(CONTAINER[0]) is not None and subprocess.run([*CONTAINER, "true"]).returncode == 0


class Supervised:
    """The worker under supervisord, as the container starts it; ``python`` is what the programs are started with.

    ``container`` is the command, if any, that shuts it off from the machine's other processes.
    """

    def __init__(self, stack: Stack, run: Path, python: Path, container: tuple[str, ...]) -> None:
        self._stack = stack
        self._socket = run / "supervisor.sock"
        self._log = stack.folder / "supervisord.log"
        # Appending, because the programs' output is written by another opening of the file than supervisord's own.
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*container, str(SUPERVISORD), "-c", str(PROJECT / "supervisord.conf")],
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

    def beat_of(self, pid: int) -> int:
        """Return how often the uploader with ``pid`` has shown that it lives."""
        worker = Worker.read(worker_file(self._stack.root, self._stack.environ["RUNPOD_POD_ID"]))
        return worker.beat if worker is not None and worker.pid == pid else 0


@contextmanager
def supervised(
    folder: Path, python: Path = Path(sys.executable), container: tuple[str, ...] = ()
) -> Iterator[Supervised]:
    # A socket's path has little room, less than a test's folder may take.
    with stack(folder) as made, tempfile.TemporaryDirectory(prefix="ferry-") as run:
        yield Supervised(made, Path(run), python, container)


def test_each_program_comes_back_and_at_the_end_the_handler_goes_before_the_uploader(tmp_path: Path) -> None:
    with supervised(tmp_path) as worker:
        before = {program: worker.up(program) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 1, "the handler")
        for pid in before.values():
            psutil.Process(pid).kill()
        after = {program: worker.up(program, before[program]) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 2, "the handler again, ready for jobs")
        beat = until(lambda: worker.beat_of(after["uploader"]), "the new uploader's beat")
        until(lambda: worker.beat_of(after["uploader"]) > beat, "its next beat")
        assert end(worker.process, signal.SIGTERM) == 0
        log = worker.log()
        assert 0 < log.rindex("stopped: handler") < log.rindex("uploader stopped") < log.rindex("stopped: uploader")


@pytest.mark.skipif(not CAN_CONTAIN, reason="this machine gives no process namespace to its users")
def test_a_handler_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$2" = handler ]; then unset SUPABASE_URL; fi\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o700)
    with supervised(tmp_path, python, CONTAINER) as worker:
        assert worker.process.wait(60) == 0
        log = worker.log()
        assert "supervisord started with pid 1\n" in log
        assert log.count("SUPABASE_URL is not set") == 6
        assert 0 < log.index("entered FATAL state") < log.index("the container ends") < log.index("uploader stopped")
