"""A bucket in memory with a run in it, whose connections break as a test says."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from shared.contract.bucket import Entry, Manifest, Missing, Status
from shared.contract.session import Outcome, Phase
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience
from tests.unit.uploader.memory_storage import BUCKET, MemoryStorage, Thing
from uploader.fetching.fetcher import Fetched, Fetcher
from uploader.fetching.folder import Folder
from uploader.fetching.plan import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shared.storage.download import Download
    from uploader.fetching.plan import Wanted

PREFIX = "run/pictures"
_BLOCK = 4


@dataclass
class Sent:
    size: int | None
    content: Iterator[bytes]
    etag: str | None = None

    def blocks(self) -> Iterator[bytes]:
        return self.content


def running() -> Status:
    """Return the status of a run that goes on."""
    return Status(session_id="training_session_1", worker="w", epoch=1, counter=1, at=0.0, phase=Phase.TRAINING)


class Shelf(MemoryStorage):
    """``breaks`` holds, by key, after how many bytes each next connection ends; ``opened`` counts key and start."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks: dict[str, list[int]] = {}
        self.opened: Counter[tuple[str, int]] = Counter()
        self.while_reading: Callable[[str], None] = lambda key: None

    def lay(self, path: str, content: bytes, **metadata: str) -> Entry:
        """Put an object there as the uploader does; return what a manifest says of it."""
        key = f"{PREFIX}/{path}"
        sha256 = hashlib.sha256(content).hexdigest()
        self.put(BUCKET, key, BytesBody(content), content_type="x/y", metadata={"sha256": sha256, **metadata})
        return Entry(key=key, size=len(content), sha256=sha256, path=path, mtime=0.0)

    def close_run(self, *entries: Entry, missing: tuple[Missing, ...] = ()) -> Manifest:
        """Write the manifest."""
        manifest = Manifest(
            outcome=Outcome.FINISHED,
            complete=not missing,
            session_id="training_session_1",
            model_name="pictures",
            created_at=0.0,
            files=entries,
            missing=missing,
        )
        self.objects[f"{PREFIX}/manifest.json"] = Thing(manifest.dump(), "v", {})
        return manifest

    def plan(self) -> Plan:
        return plan(self, BUCKET, PREFIX)

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[Download]:
        self.opened[key.removeprefix(f"{PREFIX}/"), start] += 1
        if key not in self.objects:
            raise StorageError(Trouble.NOT_FOUND, f"Reading {key}", "there is none")
        content = self.objects[key].content
        yield cast("Download", Sent(len(content), self._blocks(key, content, start)))

    def _blocks(self, key: str, content: bytes, start: int) -> Iterator[bytes]:
        breaks = self.breaks.get(key.removeprefix(f"{PREFIX}/"))
        end = breaks.pop(0) if breaks else len(content)
        for position in range(start, min(end, len(content)), _BLOCK):
            yield content[position : min(position + _BLOCK, end)]
            self.while_reading(key)
        if end < len(content):
            raise StorageError(Trouble.UNREACHABLE, f"Reading {key}", "the connection broke")


class Errand:
    """Fetches from a shelf into a folder; ``counted`` is how many bytes are said to be there."""

    def __init__(self, shelf: Shelf, root: Path) -> None:
        self.folder = Folder(root)
        self.counted = 0
        self.stop = threading.Event()
        self._fetcher = Fetcher(
            shelf,
            BUCKET,
            self.folder,
            patience=Patience(attempts=2, first=0.0),
            stop=self.stop,
            arrived=self._arrived,
        )

    def fetch(self, wanted: Wanted) -> Fetched:
        return self._fetcher.fetch(wanted)

    def _arrived(self, count: int) -> None:
        self.counted += count
