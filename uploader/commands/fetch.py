"""``fetch``: brings a run from the bucket into a folder, each object proved; goes on where it was interrupted."""

from __future__ import annotations

import errno
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.bars import bars
from shared.clock import Deadline, SystemClock
from shared.errors import ErrorCode, FerryError
from shared.lock import alone
from shared.settings import read_storage
from shared.storage.client import Storage
from shared.storage.retry import Patience, call
from uploader.fetching.fetcher import Fetched, Fetcher, StoppedError
from uploader.fetching.folder import Folder
from uploader.fetching.plan import plan
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

    from shared.bars import Bars
    from uploader.fetching.plan import Plan, Wanted

_AT_ONCE = 8
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def main(options: Namespace) -> int:
    """Fetch one prefix; print what could not be had; return 1 when there is anything of the kind."""
    settings = read_storage()
    folder, bucket, prefix = Folder(options.folder), options.bucket, options.prefix.strip("/")
    stop, patience = threading.Event(), Patience(seconds=options.patience)
    with _alone(folder.root), Storage(settings, connections=_AT_ONCE) as storage:
        try:
            found = call(lambda: plan(storage, bucket, prefix), patience, clock=SystemClock(), wait=stop.wait)
            folder.withdraw(found.document)
            print(on_terminal(f"{bucket}/{prefix}: {_standing(found)}, {_counted(len(found.wanted))}."), flush=True)
            with bars(sys.stderr) as drawn:
                tally = Tally(drawn, prefix or bucket, found)
                fetcher = Fetcher(storage, bucket, folder, patience=patience, stop=stop, arrived=tally.arrived)
                anew, wrong = _fetch_all(fetcher, found, stop, tally)
        except KeyboardInterrupt:
            print("uploader: interrupted; the same command goes on from here.", file=sys.stderr, flush=True)
            # What is under way may wait for a silent server; every part on the disk is proved at the next run.
            os._exit(130)
    return _tell(found, folder, anew, wrong)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with alone("fetch", [folder], Deadline(SystemClock(), 0), lambda _seconds: True, lambda _folder: None) as free:
        if not free:
            raise FerryError(ErrorCode.BUSY, f"Something is being fetched into {folder} already: wait for its end.")
        yield


class Tally:
    """How much has arrived, on the bar of the run. Any thread may call."""

    def __init__(self, drawn: Bars, name: str, found: Plan) -> None:
        self._drawn = drawn
        self._name = on_terminal(name)
        self._objects = len(found.wanted)
        self._bytes = sum(wanted.size for wanted in found.wanted)
        self._there = 0
        self._ended = 0
        self._lock = threading.Lock()

    def arrived(self, count: int) -> None:
        """Take note of ``count`` more bytes; it is negative for such as turned out to be of no use."""
        self._show(count, 0)

    def ended(self) -> None:
        """Take note that one more object is done with, in whatever way."""
        self._show(0, 1)

    def _show(self, count: int, objects: int) -> None:
        with self._lock:
            self._there += count
            self._ended += objects
            note = f"{self._ended} of {_counted(self._objects)}"
            # What grows while the run goes on has more bytes than were listed.
            self._drawn.show(self._name, self._there, max(self._there, self._bytes), note)


def _fetch_all(fetcher: Fetcher, found: Plan, stop: threading.Event, tally: Tally) -> tuple[int, list[str]]:
    """Return how many objects were fetched, and a sentence for each that could not be."""
    anew, wrong = 0, list(found.refused)

    def fetch(wanted: Wanted) -> Fetched:
        if stop.is_set():
            raise StoppedError
        try:
            return fetcher.fetch(wanted)
        finally:
            tally.ended()

    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")
    try:
        doing = {pool.submit(fetch, wanted): wanted for wanted in found.wanted}
        for done in as_completed(doing):
            try:
                anew += done.result() is Fetched.ANEW
            except FerryError as error:
                wrong.append(error.sentence)
            except OSError as error:
                if error.errno in _FULL:
                    sentence = "The disk is full: make room and run the same command again."
                    raise FerryError(ErrorCode.DISK_FULL, sentence) from error
                wrong.append(f"{doing[done].key}: it cannot be written to {error.filename}: {error.strerror}.")
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return anew, wrong


def _standing(found: Plan) -> str:
    if found.manifest is not None:
        return found.manifest.outcome
    if found.status is None:
        return "without a manifest and a status"
    progress = found.status.progress
    of = f" of {progress.total}" if progress.total else ""
    return f"not ended yet ({found.status.phase}, step {progress.step}{of})"


def _tell(found: Plan, folder: Folder, anew: int, wrong: list[str]) -> int:
    missing = [f"{each.path} is missing: {each.reason}" for each in (found.manifest.missing if found.manifest else ())]
    for line in (*wrong, *missing):
        print(on_terminal(line))
    right = len(found.wanted) + len(found.refused) - len(wrong)
    there = f" ({right - anew} had been there before)" if right > anew else ""
    proved = "as the manifest lists them" if found.manifest else "each as its own record in the bucket says"
    print(on_terminal(f"{_counted(right)} in {folder.root}{there}, {proved}."))
    if wrong:
        print(f"uploader: {_counted(len(wrong))} could not be fetched, listed above.", file=sys.stderr)
        return 1
    if found.document is not None:
        folder.keep(found.name, found.document)
    folder.tidy()
    if found.manifest is None:
        print("The run has not ended: the same command fetches the rest later.")
    return 1 if missing else 0


def _counted(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"
