"""An uploader on the bench: a clock that a test moves, lanes that run at once or when told, and Storage in memory."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import threading
import time
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.contract.bucket import Manifest, Status
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Session
from shared.layout import SessionFolder
from shared.settings import UploadSettings
from tests.unit.uploader.memory_storage import BUCKET, MemoryStorage
from uploader.carrier import Carrier
from uploader.disk import Disk, Space
from uploader.lanes import Lanes
from uploader.line import Line
from uploader.run import Watch, session_run
from uploader.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uploader.hold import Hold
    from uploader.open_files import FileId
    from uploader.run import Run

T = TypeVar("T")

SETTINGS = UploadSettings(
    poll_seconds=1,
    debounce_seconds=3,
    concurrency=4,
    bandwidth=None,
    exclude=(),
    log_seconds=15,
    lag_alarm_seconds=600,
    spool_bytes=1 << 30,
)
WORKER = "worker-1"
_MEMORY = Path("/dev/shm")


@contextmanager
def swift_folder() -> Iterator[Path]:
    """Hold a folder in memory, for thousands of durable writes: on a busy disk they take minutes."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


class FakeClock:
    """Stands still until told otherwise; starts near the real time, since files have real mtimes."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.passed = 0.0
        self.asleep = 0.0

    def now(self) -> float:
        return self.wall + self.passed + self.asleep

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def boottime(self) -> float:
        return self.monotonic() + self.asleep

    def advance(self, seconds: float) -> None:
        self.passed += seconds

    def suspend(self, seconds: float) -> None:
        """Have the machine sleep: programs do not count that, the boot's clock does."""
        self.asleep += seconds


class Stop(threading.Event):
    """A stop signal whose waiting moves the clock instead of taking time."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.advance(timeout or 0.0)
        return self.is_set()


class Inline(Executor):
    """Runs everything at once; while ``held``, everything waits for ``release``."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - as executors do
                future.set_exception(error)

        if self.held:
            self._waiting.append(work)
        else:
            work()
        return future

    def release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


class Harbour:
    """One root, one Storage, and as many uploader processes after one another as a test starts."""

    def __init__(self, root: Path, storage: MemoryStorage | None = None, **settings: Any) -> None:
        self.root = root
        self.storage = storage or MemoryStorage()
        self.clock = FakeClock()
        self.settings = replace(SETTINGS, **settings)
        self.open_files: set[FileId] = set()
        self.executors: dict[str, Inline] = {}
        self.stop = Stop(self.clock)
        self.space = Space(free=1 << 40, total=1 << 40)
        self.storage.while_sending = self._check_not_listed
        self.storage.now = self.clock.now

    def world(self, *, hurry: bool = False, worker: str = WORKER) -> World:
        self.executors = {}

        def executor(_width: int, name: str) -> Inline:
            return self.executors.setdefault(name, Inline())

        return World(
            storage=self.storage,
            settings=self.settings,
            worker=worker,
            clock=self.clock,
            stop=self.stop,
            lanes=Lanes(self.settings.concurrency, lambda: None, executor),
            throttle=None,
            jitter=random.Random(7),
            hurry=hurry,
            disk=Disk(lambda _: self.space),
            opened=lambda wanted: wanted & self.open_files,
        )

    def line(self) -> Line:
        return Line(self.clock, random.Random(7))

    # Runs

    def session(self, name: str = "training_session_1", **fields: Any) -> SessionFolder:
        """Write ``session.json`` as the handler would; fields that are not given stay as they are."""
        folder = SessionFolder(self.root / name)
        folder.output.mkdir(parents=True, exist_ok=True)
        session = Session.read(folder.session_file) or Session(
            session_id=name,
            worker=WORKER,
            handler=identify(),
            input_hash="hash",
            model_name="pictures",
            name="pictures",
            bucket=BUCKET,
            prefix="run/pictures",
            created_at=self.clock.now(),
        )
        session.model_copy(update={"beat": session.beat + 1, **fields}).write(folder.session_file)
        return folder

    def drained(
        self, token: str = "drain-1", outcome: Outcome = Outcome.FINISHED, session: str = "training_session_1"
    ) -> SessionFolder:
        """Have the handler ask for everything to be delivered."""
        now = self.clock.now()
        ending = Ending(outcome=outcome, by_itself=outcome is Outcome.FINISHED, at=now)
        return self.session(session, phase=Phase.DRAINING, ending=ending, drain=DrainRequest(token=token, at=now))

    def session_run(self) -> Run:
        run = session_run(self.session())
        assert run is not None
        return run

    def watched_run(self, name: str = "pictures") -> Run:
        (self.root / "watched" / name).mkdir(parents=True, exist_ok=True)
        [run] = Watch(self.root / "watched", BUCKET, "run").runs()
        return run

    # The bucket

    def manifest(self, prefix: str = "run/pictures") -> Manifest | None:
        thing = self.storage.objects.get(f"{prefix}/manifest.json")
        return Manifest.parse(thing.content) if thing else None

    def status(self, prefix: str = "run/pictures") -> Status | None:
        thing = self.storage.objects.get(f"{prefix}/status.json")
        return Status.parse(thing.content) if thing else None

    def content(self, key: str) -> bytes | None:
        thing = self.storage.objects.get(f"run/pictures/{key}")
        return thing.content if thing else None

    def _check_not_listed(self, key: str) -> None:
        """Fail when something is sent to a key that the manifest in the bucket lists."""
        manifest = self.manifest()
        assert manifest is None or key not in {entry.key for entry in manifest.files}, f"{key} is listed"

    def check_manifest(self) -> None:
        """Fail when a manifest lists what is not in the bucket, bit for bit."""
        manifest = self.manifest()
        for entry in manifest.files if manifest else ():
            thing = self.storage.objects.get(entry.key)
            assert thing is not None, f"{entry.key} is listed and not there"
            assert hashlib.sha256(thing.content).hexdigest() == entry.sha256, f"{entry.key} is another version"
            assert len(thing.content) == entry.size


class Berth:
    """One uploader process that carries one run."""

    def __init__(self, harbour: Harbour, run: Run, *, hurry: bool = False, worker: str = WORKER) -> None:
        self.harbour = harbour
        self.run = run
        self.world = harbour.world(hurry=hurry, worker=worker)
        self.executors = harbour.executors
        self.line = harbour.line()
        self.carrier = Carrier(run, self.world, self.line)

    def tick(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.carrier.tick()
            self.harbour.check_manifest()
            self.harbour.clock.advance(seconds)

    def until(self, condition: Callable[[], bool], ticks: int = 400) -> None:
        """Tick until the condition holds; fail when it does not come to that."""
        for _ in range(ticks):
            if condition():
                return
            self.probe()
            self.tick()
        raise AssertionError(f"not within {ticks} ticks; {self.carrier.stage}, {self.carrier.upload}")

    def probe(self) -> None:
        """Do what the daemon does while Storage is away: ask whether it is back."""
        if self.line.probe_due():
            self.line.answered()
        if self.line.came_back():
            self.carrier.recovered()

    def die(self) -> None:
        """Let go of the ledger's lock, and of open files, as a killed process does; nothing is finished."""
        hold = self.carrier.hold
        if hold is not None:
            hold.ledger.close()
        self.carrier._grips.close()


def write(path: Path, content: bytes | str, *, age: float = 0.0) -> None:
    """Write a file, with an mtime ``age`` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if age:
        moment = time.time() - age
        os.utime(path, (moment, moment))


def safetensors(payload: bytes = b"\0" * 64) -> bytes:
    """Return a whole file in the safetensors format."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(payload), len(payload))
    return len(header).to_bytes(8, "little") + header + payload


def hold_of(berth: Berth) -> Hold:
    """Return the open run of a berth."""
    hold = berth.carrier.hold
    assert hold is not None
    return hold
