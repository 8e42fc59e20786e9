"""What earlier sessions left below a prefix: found, looked up again, and put aside where it is damaged.

Of an answer that would cost a training its progress, one is not enough: between Storage and the worker others answer,
too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from handler.restore.choice import kept
from handler.restore.stopping import pause
from shared import keys
from shared.clock import SystemClock
from shared.log import EventLog
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from handler.restore.choice import Kept
    from shared.storage.client import Storage
    from shared.storage.records import ObjectRecord

PATIENCE = Patience(seconds=120.0)
# So many seconds before what would cost progress is asked a second and a third time.
PAUSES = (2.0, 8.0)
# Where objects go whose content is not what their own record says; no manifest lists it.
DAMAGED = "damaged"

T = TypeVar("T")

log = EventLog("handler")


class Leavings:
    """The objects below ``prefix``. Every method may raise StorageError, and FerryError (CANCELLED) by ``stop``."""

    def __init__(self, storage: Storage, bucket: str, prefix: str, stop: Event) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = prefix
        self._stop = stop

    def of(self, lineage: Sequence[str]) -> list[Kept]:
        """Return what the sessions of ``lineage`` left to go on with."""
        checkpoints = self._again(partial(self._kept_in, "checkpoints", lineage))
        return [*checkpoints, *self._kept_in("logs", lineage)]

    def has(self, file: Kept) -> bool:
        """Return whether an object is still there. Raises StorageError where it is another one by now."""
        record = self._look_up(file.record.key)
        if record not in (None, file.record):
            raise self.odd(file, "it was replaced meanwhile")
        return record is not None

    def odd(self, file: Kept, reason: str) -> StorageError:
        """Return the error for what says nothing about the object itself."""
        what = f"Restoring {self._bucket}/{file.record.key}"
        return StorageError(Trouble.BUSY, what, reason, advice="Send the job again.")

    def move_aside(self, file: Kept) -> None:
        """Move an object to where nothing lists it, if it is there."""
        inner = file.record.key.removeprefix(f"{self._prefix}/").partition("/")[2]
        place = keys.join(self._prefix, DAMAGED, inner)
        for target in (place, keys.disambiguate(place, file.record.version or file.sha256)):
            try:
                self._ask(partial(self._storage.move, self._bucket, file.record.key, target))
            except StorageError as error:
                if error.trouble not in {Trouble.EXISTS, Trouble.NOT_FOUND}:
                    raise
            else:
                return

    def _kept_in(self, folder: str, lineage: Sequence[str]) -> list[Kept]:
        below = keys.join(self._prefix, folder)
        records = [self._look_up(record.key) for record in self._ask(partial(self._listed, below))]
        return [known for record in records if record is not None and (known := kept(record, lineage)) is not None]

    def _look_up(self, key: str) -> ObjectRecord | None:
        """Return the record of an object that was listed, with its metadata; None where it is gone."""
        record = self._again(partial(self._ask, partial(self._storage.info, self._bucket, key)))
        if record is None:
            log.warning("object_gone", key=key)
        return record

    def _listed(self, below: str) -> list[ObjectRecord]:
        return list(self._storage.walk(self._bucket, below))

    def _again(self, question: Callable[[], T]) -> T:
        """Return the answer to ``question``, asking a second and a third time where it is nothing."""
        for seconds in PAUSES:
            if answer := question():
                return answer
            pause(self._stop, seconds)
        return question()

    def _ask(self, question: Callable[[], T]) -> T:
        return call(question, PATIENCE, clock=SystemClock(), wait=self._stop.wait)
