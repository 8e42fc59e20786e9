"""The worker under the container's own supervisord."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from shared.contract.upload import Worker
from shared.layout import worker_file
from tests.scenario.stack import PROJECT, Stack, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERVISORD = Path(sys.executable).with_name("supervisord")


class Supervised:
    """The worker under supervisord, as the container starts it; ``python`` is what the programs are started with.

    ``container`` is the command, if any, that shuts it off from the machine's other processes.
    """

    def __init__(self, stack: Stack, run: Path, python: Path, container: tuple[str, ...]) -> None:
        self.stack = stack
        self._run = run
        self._python = python
        self._container = container
        self._socket = run / "supervisor.sock"
        self._log = stack.folder / "supervisord.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start supervisord, once more where it was killed."""
        # Appending, because the programs' output is written by another opening of the file than supervisord's own.
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._container, str(SUPERVISORD), "-c", str(PROJECT / "supervisord.conf")],
                cwd=self._run,
                env={
                    **self.stack.environ,
                    "FERRY_PYTHON": str(self._python),
                    "FERRY_HOME": str(PROJECT),
                    "FERRY_RUN": str(self._run),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.stack.processes.append(self.process)
        return self.process

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
        worker = Worker.read(worker_file(self.stack.root, self.stack.environ["RUNPOD_POD_ID"]))
        return worker.beat if worker is not None and worker.pid == pid else 0


@contextmanager
def supervised(
    folder: Path, python: Path = Path(sys.executable), container: tuple[str, ...] = ()
) -> Iterator[Supervised]:
    # A socket's path has little room, less than a test's folder may take.
    with stack(folder) as made, tempfile.TemporaryDirectory(prefix="ferry-") as run:
        yield Supervised(made, Path(run), python, container)
