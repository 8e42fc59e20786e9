"""A dataset from the bucket to the disk: several objects at once, and only those that are not there already."""

from __future__ import annotations

import errno
import shutil
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from handler.stage.archives import unpack
from handler.stage.beside import put_back
from handler.stage.download import PATIENCE, Downloads
from handler.stage.listing import Item, list_items
from handler.stage.record import StagedFile, StagedObject, read_record, record_file, write_record
from handler.stage.tree import StagedTree, read_tree
from shared.clock import SystemClock
from shared.errors import ErrorCode, FerryError
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from handler.job import BucketFolder
    from handler.stage.source import Source
    from shared.storage.retry import Patience

T = TypeVar("T")

_REPORT_SECONDS = 0.25
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Staged:
    """How far staging is: objects in place and bytes arrived, out of how many."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int


def stage(
    storage: Source,
    source: BucketFolder,
    target: Path,
    *,
    listed: tuple[Item, ...] | None = None,
    concurrency: int,
    stop: threading.Event,
    report: Callable[[Staged], None],
    patience: Patience = PATIENCE,
) -> StagedTree:
    """Bring the folder ``source`` to ``target`` and return what is there then.

    ``listed`` is what the folder holds, where somebody knows; else it is listed here.
    ``report`` is called in this thread, at least once a second. Raises FerryError: DATASET_NOT_FOUND, DATASET_EMPTY,
    DISK_FULL, INVALID_INPUT for unsafe names and archives, STORAGE_UNREACHABLE where something else arrives than was
    listed, CANCELLED when ``stop`` is set, or a StorageError.
    """
    with _plain_errors(target, stop):
        put_back(target)
        items = listed or call(
            lambda: list_items(storage, source.bucket_name, source.folder_path),
            patience,
            clock=SystemClock(),
            wait=stop.wait,
        )
        target.mkdir(parents=True, exist_ok=True)
        staging = _Staging(storage, source.bucket_name, target, items, stop, patience)
        staging.run(concurrency, report)
        name = PurePosixPath(source.folder_path).name or source.bucket_name
        tree = read_tree(target, name, sleep=partial(_pause, stop))
    if not tree.files:
        raise FerryError(
            ErrorCode.DATASET_EMPTY,
            f"The dataset folder {source.folder_path!r} in the bucket {source.bucket_name} holds nothing to train on.",
        )
    return tree


class _StoppedError(Exception):
    """Staging is to stop."""


class _Staging:
    """One run of staging. The calling thread keeps the record; other threads download and unpack."""

    def __init__(
        self,
        storage: Source,
        bucket: str,
        target: Path,
        items: tuple[Item, ...],
        stop: threading.Event,
        patience: Patience,
    ) -> None:
        self._target = target
        self._parts = target.with_name(f".{target.name}.parts")
        self._items = items
        self._stop = stop
        self._abort = threading.Event()
        self._lock = threading.Lock()
        self._bytes = 0
        self._folders = {target}
        self._staged = SimpleQueue[StagedObject]()
        self._owners = {item.path: item.record.key for item in items if not item.is_archive}
        self._downloads = Downloads(storage, bucket, stop=self._abort, arrived=self._arrived, patience=patience)

    def run(self, concurrency: int, report: Callable[[Staged], None]) -> None:
        """Stage what is not staged. Raises the first failure, once all threads have ended."""
        missing = self._what_is_missing()
        self._empty_parts()
        waiting = SimpleQueue[tuple[int, Item]]()
        for each in enumerate(missing):
            waiting.put(each)
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="stage")
        try:
            lanes = {pool.submit(self._lane, waiting) for _ in range(min(concurrency, len(missing)))}
            self._take_note(missing, lanes, report)
        finally:
            self._abort.set()
            pool.shutdown()
            shutil.rmtree(self._parts, ignore_errors=True)

    def _what_is_missing(self) -> list[Item]:
        """Return what to download, and remove the files of objects that are gone or changed."""
        recorded = read_record(self._target)
        kept: list[StagedObject] = []
        missing: list[Item] = []
        for item in self._items:
            known = recorded.get(item.record.key)
            if known and known.holds(item.record, self._target):
                kept.append(recorded.pop(item.record.key))
                self._claim(item, (file.path for file in known.files))
            else:
                missing.append(item)
        for gone in recorded.values():
            for file in gone.files:
                (self._target / file.path).unlink(missing_ok=True)
        write_record(self._target, kept)
        return missing

    def _empty_parts(self) -> None:
        shutil.rmtree(self._parts, ignore_errors=True)
        self._parts.mkdir()

    def _take_note(self, missing: list[Item], lanes: set[Future[None]], report: Callable[[Staged], None]) -> None:
        """Keep the record while the lanes stage. Raises what went wrong in any of them."""
        finished, total = 0, sum(item.record.size for item in missing)
        report(Staged(0, len(missing), 0, total))
        with record_file(self._target).open("a", encoding="utf-8") as record:
            while lanes:
                ended, lanes = wait(lanes, _REPORT_SECONDS, FIRST_EXCEPTION)
                staged = list(_each_of(self._staged))
                record.writelines(each.line() for each in staged)
                record.flush()
                finished += len(staged)
                report(Staged(finished, len(missing), self._bytes, total))
                self._raise_if_stopped()
                for lane in ended:
                    lane.result()

    def _lane(self, waiting: SimpleQueue[tuple[int, Item]]) -> None:
        """Stage one object after the other, as long as any is waiting.

        The calling thread is not woken for each: with thousands of small ones, that costs more than they do.
        """
        for number, item in _each_of(waiting):
            self._staged.put(self._stage(item, number))

    def _stage(self, item: Item, number: int) -> StagedObject:
        part = self._parts / f"{number}.part"
        self._raise_if_stopped()
        self._downloads.fetch(item.record, part)
        if item.is_archive:
            paths = self._unpack(item, part, self._parts / str(number))
        else:
            paths = (item.path,)
            self._put(part, item.path)
        files = tuple(StagedFile.of(self._target, path) for path in paths)
        return StagedObject(item.record.key, item.record.size, item.record.etag, files)

    def _unpack(self, item: Item, part: Path, into: Path) -> tuple[str, ...]:
        """Unpack where the archive lies, and leave the archive itself out."""
        into.mkdir()
        members = unpack(part, item.record.key, into, self._raise_if_stopped)
        part.unlink()
        paths = {member: str(PurePosixPath(item.path).parent / member) for member in members}
        self._claim(item, paths.values())
        for member, path in paths.items():
            self._put(into / member, path)
        return tuple(paths.values())

    def _claim(self, item: Item, paths: Iterable[str]) -> None:
        """Note whose each path is. Raises FerryError where an archive holds what something else holds, too."""
        with self._lock:
            for path in paths:
                owner = self._owners.setdefault(path, item.record.key)
                if owner != item.record.key:
                    raise FerryError(
                        ErrorCode.INVALID_INPUT,
                        f"Both {item.record.key} and {owner} would become {path} in the dataset; remove one of them.",
                    )

    def _put(self, source: Path, path: str) -> None:
        target = self._target / path
        try:
            if target.parent not in self._folders:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(target.parent)
            source.replace(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise FerryError(
                ErrorCode.INVALID_INPUT, f"{path} would be a file and a folder in the dataset; rename one of them."
            ) from None

    def _arrived(self, count: int) -> None:
        self._raise_if_stopped()
        with self._lock:
            self._bytes += count

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set() or self._abort.is_set():
            raise _StoppedError


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise _StoppedError


def _each_of(queue: SimpleQueue[T]) -> Iterator[T]:
    """Take from a queue until it is empty."""
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


@contextmanager
def _plain_errors(target: Path, stop: threading.Event) -> Iterator[None]:
    """Turn what the disk says, and the wish to stop, into errors that a person can act on."""
    try:
        yield
    except (_StoppedError, StorageError) as error:
        if isinstance(error, StorageError) and not stop.is_set():
            if error.trouble is Trouble.CHANGED:
                raise FerryError(ErrorCode.STORAGE_UNREACHABLE, error.sentence) from error
            raise
        raise FerryError(ErrorCode.CANCELLED, "Staging the dataset was stopped.") from error
    except OSError as error:
        if error.errno in _FULL:
            raise FerryError(
                ErrorCode.DISK_FULL,
                f"The disk is full: the dataset does not fit into {target}. Give the worker a larger disk or volume.",
            ) from error
        raise FerryError(ErrorCode.INTERNAL, f"The dataset cannot be staged to {target}: {error}.") from error
