"""Who a job meets, as fakes: a Storage in memory, an uploader that plays along or not, a toolkit of a few lines."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from handler.reporter import Reporter
from handler.trainer import live_trainers
from handler.workshop import Workshop
from shared.clock import SystemClock
from shared.contract.session import Session
from shared.contract.upload import DrainReceipt, Upload, Worker
from shared.layout import SessionFolder, sessions, worker_file
from shared.storage.errors import StorageError, Trouble
from shared.storage.records import BucketRecord, FolderListing, ObjectRecord
from tests.unit.handler.made import settings
from tests.unit.handler.toolkits import make_toolkit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from shared.storage.client import Storage

SECRET = "service-key-of-the-test"
# Saves what a training saves, and stays until it is ended where the test says so (``"steps": 0``).
SCRIPT = """
import pathlib, signal, sys, yaml
config = yaml.safe_load(open(sys.argv[1]))
process = config["config"]["process"][0]
name = config["config"]["name"]
output = pathlib.Path(process["training_folder"], name)
output.mkdir(parents=True, exist_ok=True)
print(f"\\r{name}:   0%|  | 0/9 [00:00<?, ?it/s]", file=sys.stderr, flush=True)
if not process["train"]["steps"]:
    signal.pause()
path = output / f"{name}.safetensors"
path.write_bytes(b"weights")
print(f"Saved checkpoint to {path}", flush=True)
"""


def job(steps: int = 9, **changes: Any) -> dict[str, Any]:
    """Return what RunPod delivers: a job of nine steps, or, with none, one that never ends by itself."""
    process = {"type": "sd_trainer", "datasets": [{"folder_path": "/data/cats"}], "train": {"steps": steps}}
    known: dict[str, Any] = {
        "config": {"job": "extension", "config": {"name": "tabby", "process": [process]}},
        "dataset_config": {"bucket_name": "datasets", "folder_path": "cats"},
        "upload_config": {"bucket_name": "outputs", "folder_path": "run"},
    }
    return {"id": "job-1", "input": {**known, **changes}}


@dataclass
class FakeDownload:
    size: int | None
    content: bytes
    etag: str | None = None

    def blocks(self) -> Iterator[bytes]:
        yield self.content


@dataclass
class FakeStorage:
    """Two buckets and some pictures. A call whose name is in ``held`` waits until the test lets it go or the end."""

    objects: dict[str, bytes] = field(default_factory=lambda: {"cats/one.jpg": b"one", "cats/one.txt": b"a cat"})
    buckets: dict[str, BucketRecord] = field(
        default_factory=lambda: {name: BucketRecord(name, False, None, None) for name in ("datasets", "outputs")}
    )
    largest: int = 50 << 30
    error: StorageError | None = None
    held: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.held:
            self.let_go.wait(60)
        if self.error is not None:
            raise self.error

    def bucket(self, name: str) -> BucketRecord:
        self._call("bucket")
        if name not in self.buckets:
            raise StorageError(Trouble.BUCKET_NOT_FOUND, f"Looking up the bucket {name}", "there is none")
        return self.buckets[name]

    def put(self, bucket: str, key: str, body: object, **_: object) -> None:
        self._call("put")
        self.objects[f"{bucket}:{key}"] = b""

    def remove(self, bucket: str, keys: list[str]) -> None:
        self._call("remove")
        for key in keys:
            del self.objects[f"{bucket}:{key}"]

    def takes(self, bucket: str, size: int) -> bool:
        self._call("takes")
        return size <= self.largest

    def read(self, bucket: str, key: str, limit: int = 0) -> bytes | None:
        self._call("read")
        return self.objects.get(f"{bucket}:{key}")

    def signed_urls(self, bucket: str, keys: list[str], seconds: int) -> dict[str, str]:
        self._call("signed_urls")
        return {key: f"https://fake/{bucket}/{key}?{seconds}" for key in keys}

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        self._call("walk")
        start = f"{prefix}/" if prefix else ""
        yield from (ObjectRecord(key, len(held)) for key, held in self.objects.items() if key.startswith(start))

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        self._call("folder")
        start = f"{prefix}/" if prefix else ""
        inner = [key.removeprefix(start) for key in self.objects if key.startswith(start)]
        folders = dict.fromkeys(key.partition("/")[0] for key in inner if "/" in key)
        files = (ObjectRecord(start + key, len(self.objects[start + key])) for key in inner if "/" not in key)
        return FolderListing(tuple(folders), tuple(files))

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[FakeDownload]:
        self._call("open")
        yield FakeDownload(len(self.objects[key]), self.objects[key][start:])


@dataclass
class FakeUploader:
    """Beats, and takes up every session; ``claims`` and ``answers`` say what else it does."""

    root: Path
    claims: bool = True
    answers: bool = True
    refuses: Upload | None = None
    tokens: dict[str, list[str]] = field(default_factory=dict)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        beats = worker_file(self.root, "worker")
        beats.parent.mkdir(parents=True, exist_ok=True)
        now = SystemClock().now()
        Worker(worker="worker", pid=1, host="", boot_id="", beat=1, at=now).write(beats)
        task = asyncio.ensure_future(self._work())
        try:
            yield
        finally:
            task.cancel()

    async def _work(self) -> None:
        while True:
            for folder in sessions(self.root):
                self.look(folder)
            await asyncio.sleep(0.01)

    def look(self, folder: SessionFolder) -> None:
        session = Session.read(folder.session_file)
        if session is None:
            return
        seen = self.tokens.setdefault(folder.session_id, [])
        if session.drain is not None and session.drain.token not in seen:
            seen.append(session.drain.token)
        upload = self.refuses or Upload(worker="worker", claim_epoch=1 if self.claims else None)
        if seen and self.answers:
            upload = upload.model_copy(update={"receipt": DrainReceipt(token=seen[-1], complete=True)})
        if Upload.read(folder.upload_file) != upload:
            upload.write(folder.upload_file)


@dataclass
class Place:
    """A worker's root with everybody who works there."""

    root: Path
    storage: FakeStorage
    uploader: FakeUploader
    workshop: Workshop

    @property
    def sessions(self) -> list[Session]:
        read = (Session.read(folder.session_file) for folder in sessions(self.root))
        return [session for session in read if session is not None]

    def trainers(self) -> list[int]:
        return [root.pid for folder, root in live_trainers() if folder.is_relative_to(self.root)]


def place(tmp_path: Path, script: str = SCRIPT, **environ: str) -> Place:
    """Return a worker that could run a job now."""
    import sys

    root = tmp_path / "training"
    toolkit = make_toolkit(tmp_path / "toolkit", script)
    known = settings(root, AI_TOOLKIT_DIR=str(toolkit), AI_TOOLKIT_PYTHON=sys.executable, **environ)
    storage, clock = FakeStorage(), SystemClock()
    shown = {**os.environ, "SUPABASE_SERVICE_KEY": SECRET, "HF_HOME": str(tmp_path / "models")}
    workshop = Workshop(known, cast("Storage", storage), clock, Reporter(lambda _: None, clock), shown)
    return Place(root, storage, FakeUploader(root), workshop)
