"""Following a job as its sender would: by RunPod's status, and by what appears in the bucket meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from shared.contract.bucket import CLAIMS, MANIFEST, STATUS, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.storage.client import Storage

_LOOK_SECONDS = 0.5
_OWN = frozenset({CLAIMS})


class Watcher:
    """Prints what is new at ``prefix`` since the last look."""

    def __init__(self, storage: Storage, bucket: str, prefix: str, say: Callable[[str], None]) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = prefix
        self._say = say
        self._seen: set[str] = set()
        self._shown: tuple[object, ...] = ()

    def look(self) -> None:
        """Say what has appeared and how the training stands."""
        for record in self._storage.walk(self._bucket, self._prefix):
            name = record.key.removeprefix(f"{self._prefix}/")
            if name not in self._seen and name.partition("/")[0] not in _OWN and name not in {STATUS, MANIFEST}:
                self._say(f"  in the bucket: {name} ({record.size:,} bytes)")
            self._seen.add(name)
        self._status()

    def _status(self) -> None:
        content = self._storage.read(self._bucket, f"{self._prefix}/{STATUS}")
        status = Status.parse(content) if content else None
        if status is None:
            return
        progress = status.progress
        shown = (status.phase, progress.step)
        if shown != self._shown:
            self._shown = shown
            loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
            self._say(f"{status.phase}: step {progress.step} of {progress.total or '?'}{loss}")


def follow(state: Callable[[], str], watcher: Watcher, alive: Callable[[], bool]) -> str:
    """Look until RunPod says that the job is over, or the worker is gone; return the job's last state."""
    pause = threading.Event()
    while (now := state()) in {"IN_QUEUE", "IN_PROGRESS"} and alive():
        watcher.look()
        pause.wait(_LOOK_SECONDS)
    watcher.look()
    return now


def answer_of(job: Any) -> dict[str, Any]:
    """Return the worker's answer, whichever way RunPod shows it."""
    output = job.output() or {}
    return output if isinstance(output, dict) else {"output": output}
