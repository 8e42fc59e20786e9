"""A training as the uploader meets it, told so that everything an uploader ever does has to be done once.

It goes on with what an earlier session left under the prefix. There are samples (one is in the bucket already), a
checkpoint of three chunks, an optimizer's state, a log that grows, an open database, and a checkpoint that is deleted
while it waits for its turn. At its end a manifest is written, and withdrawn when the same session is begun once more: a
sample and the checkpoint are rewritten, a torn checkpoint appears, the log grows. Then another worker carries the
session for a while, on the same volume, and leaves an older version of the sample in the bucket; and at last it is this
worker's again, under a new epoch of the claim, and everything the ledger knew is in doubt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from local.storage.faults import Fault
from shared import keys
from shared.clock import SystemClock
from shared.contract.bucket import CLAIMS, MANIFEST, STATUS, Claim, Entry, Manifest, Status
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Saved, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder
from shared.storage.body import BytesBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from local.storage.server import RunningStorage
    from shared.contract.document import Document
    from shared.storage.client import Storage
    from tests.scenario.steps.crew import Crew

BUCKET = "outputs"
WORKER = "test-worker"
SESSION, EARLIER = "training_session_2", "training_session_1"
NAME = "pictures"
DELETED = f"{NAME}/{NAME}_000000002.pt"
_CHECKPOINT = f"{NAME}_000000004.safetensors"
# Three chunks and one, both beyond what goes in one request.
_LARGE, _LARGE_TOO = (12 << 20) + 300_000, 6_100_000
_WAIT_FOR_EVER = 1e6
_TIMES = SystemClock()


@dataclass(slots=True)
class Cargo:
    """What is to lie at one key in the end, and the bytes of all versions that had to be sent there."""

    content: bytes
    sizes: int = 0


@dataclass(slots=True)
class Story:
    """One training, below a root and a prefix of its own."""

    root: Path
    prefix: str
    server: RunningStorage
    storage: Storage
    crew: Crew
    unwatched: Callable[[], AbstractContextManager[None]]
    cargo: dict[str, Cargo] = field(default_factory=dict)
    saved: tuple[Saved, ...] = ()
    was_spooled: bool = False

    @property
    def folder(self) -> SessionFolder:
        """Return the session's folder."""
        return SessionFolder(self.root / SESSION)

    def prepare(self) -> None:
        """Leave in the bucket what an earlier session leaves there; its only checkpoint is on no disk any more."""
        left = {
            "samples/kept.png": noise(3000, "kept"),
            "samples/changed.png": noise(3000, "old"),
            "checkpoints/pictures_000000001.pt": noise(5000, "heirloom"),
        }
        self._leave(EARLIER, 1, left)
        self.cargo = {self.key(name): Cargo(content) for name, content in left.items()}

    def tell(self) -> Iterator[Callable[[], object]]:
        """Do what handler and trainer do, step by step; yield what each step waits for."""
        yield from self._train()
        yield from self._train_again()
        yield from self._come_back()

    def _train(self) -> Iterator[Callable[[], object]]:
        # A gate before the first sample keeps the lane busy for as long as the trainer needs to delete a checkpoint.
        gate = self.server.faults.add(Fault(method="POST", path=self.key("samples/gate.png"), latency=_WAIT_FOR_EVER))
        self._write(f"{NAME}/samples/gate.png", noise(2000, "gate"), "samples/gate.png")
        self._tell_session()
        yield lambda: self.server.faults.hits(gate)
        self._write(DELETED, noise(40_000, "deleted"), DELETED.partition("/")[2], folder="checkpoints")
        self._has_saved(DELETED, 2)
        self._tell_session()
        yield self._is_held
        (self.folder.output / DELETED).unlink()
        # One that stumbles does nothing new before its last request has been answered.
        yield lambda: self._spooled() or self.crew.has_stumbled
        self.was_spooled = self._spooled()
        self._write_training()
        self._tell_session()
        self.server.faults.clear(gate)
        yield self._has_delivered
        self._tell_session(Outcome.FINISHED, "first")
        yield lambda: self._answered("first")

    def _train_again(self) -> Iterator[Callable[[], object]]:
        self._tell_session(attempt=2)
        yield lambda: self._is_open(attempt=2)
        self._write_more()
        self._has_saved(f"{NAME}/{_CHECKPOINT}", 4)
        self._tell_session(Outcome.INTERRUPTED, "second", attempt=2)
        yield lambda: self._answered("second")

    def _come_back(self) -> Iterator[Callable[[], object]]:
        with self.unwatched():
            self._let_another_worker()
        self._tell_session(attempt=3)
        yield lambda: self._is_open(attempt=3)
        self._tell_session(Outcome.FINISHED, "third", attempt=3)
        yield lambda: self._answered("third")

    def key(self, name: str) -> str:
        """Return the whole key of what has ``name`` below the prefix."""
        return keys.join(self.prefix, name)

    # What happens

    def _write_training(self) -> None:
        self._write(f"{NAME}/samples/kept.png", noise(3000, "kept"), "samples/kept.png", sent=False)
        self._write(f"{NAME}/samples/changed.png", noise(3000, "changed"), "samples/changed.png")
        self._write(f"{NAME}/{_CHECKPOINT}", _safetensors("first", _LARGE), _CHECKPOINT, folder="checkpoints")
        self._write(f"{NAME}/optimizer.pt", noise(300_000, "optimizer"), "optimizer.pt", folder="checkpoints")
        # It is sent on the trainer's word alone.
        self._has_saved(f"{NAME}/optimizer.pt", 4)
        self._write(f"{NAME}/metrics.db", noise(8192, "database"), "logs/metrics.db")
        self._write("logs/training.log", b"one\ntwo\nthr", "logs/training.log")
        # Of a log the whole lines are published first.
        self.cargo[self.key("logs/training.log")].sizes += len(b"one\ntwo\n") + len(b"one\ntwo\nthree\n")

    def _write_more(self) -> None:
        self._write(f"{NAME}/samples/changed.png", noise(3000, "changed again"), "samples/changed.png")
        self._write(f"{NAME}/{_CHECKPOINT}", _safetensors("second", _LARGE_TOO), _CHECKPOINT, folder="checkpoints")
        torn = f"{NAME}_000000008.safetensors"
        self._write(f"{NAME}/{torn}", _safetensors("torn", _LARGE_TOO)[:200_000], torn, folder="incomplete")
        self._write("logs/training.log", b"one\ntwo\nthree\nfour", "logs/training.log")

    def _write(self, path: str, content: bytes, name: str, *, folder: str = "", sent: bool = True) -> None:
        file = self.folder.output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # Beside and renamed, so that the uploader never meets a half.
        temporary = file.with_name(f".{file.name}")
        temporary.write_bytes(content)
        temporary.replace(file)
        cargo = self.cargo.setdefault(self.key(keys.join(folder, name)), Cargo(content))
        cargo.content = content
        cargo.sizes += len(content) if sent else 0

    def _has_saved(self, path: str, step: int) -> None:
        self.saved = (*self.saved, Saved(path=path, step=step, at=_TIMES.now()))

    def _tell_session(self, outcome: Outcome | None = None, token: str = "", *, attempt: int = 1) -> None:
        now = _TIMES.now()
        session = Session.read(self.folder.session_file) or Session(
            session_id=SESSION,
            worker=WORKER,
            handler=identify(),
            input_hash="hash",
            lineage=(EARLIER,),
            model_name=NAME,
            name=NAME,
            bucket=BUCKET,
            prefix=self.prefix,
            created_at=now,
        )
        ending = None if outcome is None else Ending(outcome=outcome, by_itself=outcome is Outcome.FINISHED, at=now)
        drain = DrainRequest(token=token, at=now) if token else None
        update = {"beat": session.beat + 1, "attempt": attempt, "saved": self.saved, "ending": ending, "drain": drain}
        session.model_copy(update=update).write(self.folder.session_file)

    def _let_another_worker(self) -> None:
        """Do what the uploader of another worker does with the session, under the next epoch of the claim."""
        claims = self.storage.folder(BUCKET, self.key(CLAIMS)).files
        epoch = 1 + max(int(Path(record.key).stem) for record in claims if record.key.endswith(".json"))
        self.storage.remove(BUCKET, [self.key(MANIFEST)])
        theirs = {"samples/kept.png": noise(3000, "kept"), "samples/changed.png": noise(3000, "changed")}
        self._leave(SESSION, epoch, theirs)
        for name, content in theirs.items():
            self.cargo[self.key(name)].sizes += len(content)
        # What they left has to be sent over once more.
        self.cargo[self.key("samples/changed.png")].sizes += 3000

    def _leave(self, session: str, epoch: int, objects: Mapping[str, bytes]) -> None:
        """Leave in the bucket what a session with these objects leaves there when it has ended."""
        self._put(
            f"{CLAIMS}/{epoch}.json", Claim(epoch=epoch, token=session, session_id=session, worker="other", at=1.0)
        )
        entries = []
        for name, content in objects.items():
            digest = hashlib.sha256(content).hexdigest()
            self._put(name, content, {"sha256": digest, "mtime": "1.0", "path": name, "session": session})
            entries.append(Entry(key=self.key(name), size=len(content), sha256=digest, path=name, mtime=1.0))
        status = Status(session_id=session, worker="other", epoch=epoch, counter=7, at=1.0, phase=Phase.CLOSED)
        self._put(STATUS, status)
        self._put(
            MANIFEST,
            Manifest(
                outcome=Outcome.INTERRUPTED,
                complete=True,
                session_id=session,
                model_name=NAME,
                created_at=1.0,
                files=tuple(entries),
            ),
        )

    def _put(self, name: str, content: bytes | Document, metadata: Mapping[str, str] | None = None) -> None:
        body = BytesBody(content if isinstance(content, bytes) else content.dump())
        self.storage.put(BUCKET, self.key(name), body, content_type="application/json", metadata=metadata or {})

    # What is waited for

    def _is_held(self) -> bool:
        """Return whether the uploader holds the checkpoint open that is about to be deleted."""
        file = self.folder.output / DELETED
        try:
            return any(entry.readlink() == file for entry in Path(f"/proc/{self.crew.pid}/fd").iterdir())
        except OSError:
            return False

    def _spooled(self) -> bool:
        return any(not path.name.startswith(".") for path in self.folder.spool.glob("*.kept"))

    def _has_delivered(self) -> bool:
        """Return whether nothing waits any more but the database, which may still be open."""
        upload = Upload.read(self.folder.upload_file)
        return upload is not None and upload.uploaded.files >= 6 and upload.pending.files == 1

    def _is_open(self, attempt: int) -> bool:
        upload = Upload.read(self.folder.upload_file)
        return upload is not None and upload.attempt == attempt and upload.claim_epoch is not None

    def _answered(self, token: str) -> bool:
        upload = Upload.read(self.folder.upload_file)
        return upload is not None and upload.receipt is not None and upload.receipt.token == token


@cache
def noise(size: int, seed: str) -> bytes:
    """Return ``size`` bytes that compress badly, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


@cache
def _safetensors(seed: str, size: int) -> bytes:
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    return len(header).to_bytes(8, "little") + header + noise(size, seed)
