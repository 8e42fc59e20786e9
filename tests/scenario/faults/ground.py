"""Storage, the proxy before it, and the product's own code that reaches Storage through the proxy alone."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.earlier import documents
from handler.job import BucketFolder, parse_job
from handler.reporter import Reporter
from handler.stage import stage
from handler.workshop import Workshop
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder
from shared.storage.retry import Patience
from tests.conformance.transfers import put
from tests.unit.handler import made
from tests.unit.handler.crew import job
from tests.unit.uploader.harbour import SETTINGS, WORKER, FakeClock, Inline, Stop
from uploader.daemon import Daemon
from uploader.lanes import Lanes
from uploader.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.proxy.rig import Rig
    from shared.contract.bucket import Status
    from shared.settings import StorageSettings
    from shared.storage.client import Storage
    from tests.scenario.faults.mishaps import Mishap

OUTPUTS, DATASETS, DATASET = "outputs", "datasets", "pictures"
PICTURES = {f"{number}.png": random.Random(number).randbytes(300_000) for number in range(3)}
_TICKS = 400
HASTY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Ground:
    """``direct`` is for the test, which sees the bucket as it is; the product's clients go through the proxy.

    The ``hasty`` one bears silence for so short a time that a test can try it. ``settings`` are theirs.
    """

    settings: StorageSettings
    direct: Storage
    patient: Storage
    hasty: Storage
    rig: Rig

    def client(self, mishap: Mishap) -> Storage:
        """Return the client to try that with."""
        return self.hasty if mishap.silent else self.patient

    def fill(self) -> None:
        """Make the buckets, and put a dataset into one of them."""
        for bucket in (OUTPUTS, DATASETS):
            self.direct.make_bucket(bucket)
        for name, content in PICTURES.items():
            put(self.direct, DATASETS, f"{DATASET}/{name}", content)


class Shipping:
    """An uploader with one session, whose pauses move a clock instead of taking time; its lanes are this thread.

    The time-outs of its connections are real.
    """

    def __init__(self, root: Path, storage: Storage, prefix: str) -> None:
        self.prefix = prefix
        self.clock = FakeClock()
        self.folder = SessionFolder(root / "training_session_1")
        self.folder.output.mkdir(parents=True)
        lanes = Lanes(SETTINGS.concurrency, lambda: None, lambda _width, _name: Inline())
        world = World(
            storage=storage,
            settings=SETTINGS,
            worker=WORKER,
            clock=self.clock,
            stop=Stop(self.clock),
            lanes=lanes,
            throttle=None,
            jitter=random.Random(7),
            opened=lambda _: frozenset(),
        )
        self._daemon = Daemon(world, root, (), threading.Event())

    def write(self, name: str, content: bytes) -> None:
        """Have the trainer write a file, and end."""
        (self.folder.output / name).write_bytes(content)
        now = self.clock.now()
        Session(
            session_id=self.folder.path.name,
            worker=WORKER,
            handler=identify(),
            input_hash="hash",
            model_name="pictures",
            name="pictures",
            bucket=OUTPUTS,
            prefix=self.prefix,
            created_at=now,
            phase=Phase.DRAINING,
            ending=Ending(outcome=Outcome.FINISHED, by_itself=True, at=now),
            drain=DrainRequest(token="drain", at=now),
        ).write(self.folder.session_file)

    @property
    def upload(self) -> Upload:
        return Upload.read(self.folder.upload_file) or Upload(worker=WORKER)

    @property
    def reasons(self) -> str:
        """What a person is told of files that are not in the bucket."""
        return " ".join(failure.reason for failure in self.upload.failures)

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the uploader go on until the condition holds; fail where it does not come to that."""
        for _ in range(_TICKS):
            if condition():
                return
            self._daemon.tick()
            self.clock.advance(1.0)
        raise AssertionError(f"not within {_TICKS} ticks: {self.upload}")

    def until_answered(self) -> None:
        """Let the uploader go on until it has answered the drain."""
        self.until(lambda: self.upload.receipt is not None)


class Quick(threading.Event):
    """A stop signal whose waiting takes no time."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def staged(storage: Storage, target: Path, *, attempts: int = 4) -> dict[str, bytes]:
    """Stage the dataset and return what is there then. Raises what staging raises, after so many attempts."""
    source = BucketFolder(bucket_name=DATASETS, folder_path=DATASET)
    patience = Patience(attempts=attempts, first=0.01, longest=0.05)
    stage(storage, source, target, concurrency=1, stop=Quick(), report=lambda _: None, patience=patience)
    return {path.name: path.read_bytes() for path in target.iterdir()}


class LongPauses(Stop):
    """A stop signal at whose pauses so much time goes by that a handler's patience knows only a few of them."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(max(timeout or 0.0, 15.0))


def found(root: Path, storage: Storage, folder: str) -> Status | None:
    """Return the ``status.json`` that a handler finds of an earlier run. Raises what looking for it raises."""
    clock = FakeClock()
    event = job(upload_config={"bucket_name": OUTPUTS, "folder_path": folder})
    workshop = Workshop(made.settings(root), storage, clock, Reporter(lambda _: None, clock), {})
    return documents(parse_job(event), workshop, LongPauses(clock))[1]
