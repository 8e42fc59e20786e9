"""The real uploader process against the embedded Storage, and processes that stand for a trainer."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from local.storage.server import running_storage
from shared.clock import Deadline, SystemClock
from shared.contract.bucket import Manifest, Status
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Ending, Outcome, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder
from shared.settings import StorageSettings
from shared.storage.client import Storage

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from local.storage.server import RunningStorage

PROJECT = Path(__file__).resolve().parents[3]
BUCKET = "outputs"
PREFIX = "run/pictures"
_LOOK_SECONDS = 0.02

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Return the first true value of ``condition``; fail when there is none within ``seconds``."""
    deadline, pause = Deadline(SystemClock(), seconds), threading.Event()
    while not (value := condition()):
        assert not deadline.passed(), f"{what}: not within {seconds:.0f} s"
        pause.wait(_LOOK_SECONDS)
    return value


class Port:
    """A root, a watched folder and a Storage. Processes that a test leaves running are killed at the end."""

    def __init__(self, folder: Path, server: RunningStorage) -> None:
        self.folder = folder
        self.root = folder / "training"
        self.watched = folder / "watched"
        self.watched.mkdir()
        self.server = server
        self.storage = Storage(StorageSettings(server.url, server.service_key))
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "RUNPOD_"))},
            "RUNPOD_POD_ID": "test-worker",
            "SUPABASE_URL": server.url,
            "SUPABASE_SERVICE_KEY": server.service_key,
            "TRAINING_ROOT": str(self.root),
            "UPLOAD_LOG_SECONDS": "1",
            "UPLOAD_DEBOUNCE_SECONDS": "0.5",
            "UPLOAD_POLL_SECONDS": "0.25",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start ``python -m uploader …``; what it prints goes to ``printed``."""
        return self._start([sys.executable, "-m", "uploader", *arguments], environ)

    def watch(self, command: str, *more: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the uploader on the watched folder."""
        return self.start(
            command, "--watch", str(self.watched), "--bucket", BUCKET, "--prefix", "run", *more, **environ
        )

    def trainer(self, program: str) -> subprocess.Popen[bytes]:
        """Start a program that writes files, in the output folder of the session."""
        return self._start([sys.executable, "-c", program], {}, cwd=self.session().output)

    def _start(self, command: list[str], environ: dict[str, str], cwd: Path = PROJECT) -> subprocess.Popen[bytes]:
        with (self.folder / f"printed-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**self.environ, **environ},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def printed(self, process: subprocess.Popen[bytes] | None = None) -> str:
        """Return what a process, or all of them, have printed."""
        if process is not None:
            return (self.folder / f"printed-{self.processes.index(process)}.log").read_text(errors="replace")
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("printed-*.log")))

    def ends(self, process: subprocess.Popen[bytes], seconds: float = 60.0) -> int:
        """Return the exit code of a process that is about to end."""
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.printed(process)[-3000:]}") from None

    def close(self) -> None:
        """Kill what is left."""
        self.storage.close()
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    # Sessions

    def session(self, **fields: Any) -> SessionFolder:
        """Write ``session.json`` as the handler would; fields that are not given stay as they are."""
        folder = SessionFolder(self.root / "training_session_1")
        folder.output.mkdir(parents=True, exist_ok=True)
        session = Session.read(folder.session_file) or Session(
            session_id="training_session_1",
            worker="test-worker",
            handler=identify(),
            input_hash="hash",
            model_name="pictures",
            name="pictures",
            bucket=BUCKET,
            prefix=PREFIX,
            created_at=SystemClock().now(),
        )
        session.model_copy(update={"beat": session.beat + 1, **fields}).write(folder.session_file)
        return folder

    def drain(self, outcome: Outcome = Outcome.FINISHED, token: str = "drain") -> Upload:
        """Ask for everything to be delivered, and wait for the answer."""
        now = SystemClock().now()
        ending = Ending(outcome=outcome, by_itself=outcome is Outcome.FINISHED, at=now)
        folder = self.session(ending=ending, drain=DrainRequest(token=token, at=now))

        def answer() -> Upload | None:
            upload = Upload.read(folder.upload_file)
            return upload if upload and upload.receipt and upload.receipt.token == token else None

        return until(answer, "the answer to the drain", 90)

    # The bucket

    def content(self, key: str) -> bytes | None:
        """Return an object of the run."""
        return self.storage.read(BUCKET, f"{PREFIX}/{key}", limit=1 << 33)

    def is_there(self, key: str) -> bool:
        """Return whether the run has such an object."""
        return self.storage.info(BUCKET, f"{PREFIX}/{key}") is not None

    def manifest(self) -> Manifest | None:
        """Return the run's manifest."""
        content = self.content("manifest.json")
        return Manifest.parse(content) if content else None

    def checked_manifest(self) -> Manifest:
        """Return the run's manifest; fail when the bucket is not what it says."""
        manifest = self.manifest()
        assert manifest is not None, self.printed()[-3000:]
        for entry in manifest.files:
            assert self.digest(entry.key) == entry.sha256, entry.key
        return manifest

    def digest(self, key: str) -> str:
        """Return the SHA-256 of an object, by its whole key."""
        digest = hashlib.sha256()
        with self.storage.open(BUCKET, key) as download:
            for block in download.blocks():
                digest.update(block)
        return digest.hexdigest()

    def status(self) -> Status | None:
        """Return the run's ``status.json``."""
        content = self.content("status.json")
        return Status.parse(content) if content else None

    def received(self, key: str) -> int:
        """Return how many bytes of bodies have reached the server for an object of the run."""
        return self.server.stats.received_for(BUCKET, f"{PREFIX}/{key}")


@contextmanager
def port(folder: Path) -> Iterator[Port]:
    """Yield a port whose bucket is there and no uploader runs yet."""
    with running_storage(folder / "storage") as server:
        made = Port(folder, server)
        try:
            made.storage.make_bucket(BUCKET)
            yield made
        finally:
            made.close()


def kill(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(number)
    return process.wait(60)


def noise(size: int, seed: int = 1) -> Iterator[bytes]:
    """Yield ``size`` bytes that do not repeat, in blocks, the same for the same seed."""
    block, number = 1 << 20, 0
    while size > 0:
        digest = hashlib.sha256(f"{seed}-{number}".encode()).digest()
        yield (digest * (block // len(digest)))[: min(block, size)]
        size -= block
        number += 1


def write_noise(path: Path, size: int, seed: int = 1) -> str:
    """Write a file of noise; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in noise(size, seed):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()
