"""What there is to fetch at a prefix: what its manifest lists or, while there is none, what lies there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, STATUS, Manifest, Status
from shared.errors import ErrorCode, FerryError
from shared.paths import file_and_folder, unsafe
from uploader.kinds import OUTPUT_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.storage.client import Storage

_LARGEST_MANIFEST = 1 << 30
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to fetch: whole key, path below the folder, size in bytes, and the SHA-256 that it must have.

    ``sha256`` is None where no manifest says: the object's own record does when its turn comes.
    """

    key: str
    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch, and what the bucket says of the run. ``refused`` are objects that may not become files, and why.

    ``document`` is the manifest as it lies there, or ``status.json`` of a run that has none yet.
    """

    wanted: tuple[Wanted, ...]
    refused: tuple[str, ...]
    manifest: Manifest | None
    status: Status | None
    document: bytes | None

    @property
    def name(self) -> str:
        """Return the name of the document."""
        return STATUS if self.manifest is None else MANIFEST


def plan(storage: Storage, bucket: str, prefix: str) -> Plan:
    """Return what there is to fetch below ``prefix``, which has no slashes around it.

    Raises StorageError, and FerryError where there is no run, saying what is there instead.
    """
    content = storage.read(bucket, keys.join(prefix, MANIFEST), limit=_LARGEST_MANIFEST)
    if content is not None:
        manifest = Manifest.parse(content)
        if manifest is None:
            sentence = f"{bucket}/{keys.join(prefix, MANIFEST)} is no manifest that this version of Ferry understands."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence)
        listed = ((entry.key, entry.size, entry.sha256) for entry in manifest.files)
        return Plan(*_sorted_out(listed, prefix), manifest, None, content)
    content = storage.read(bucket, keys.join(prefix, STATUS))
    found = (
        (record.key, record.size, None) for record in storage.walk(bucket, prefix) if _is_output(record.key, prefix)
    )
    wanted, refused = _sorted_out(found, prefix)
    if content is None and not wanted and not refused:
        raise _nothing(storage, bucket, prefix)
    status = Status.parse(content) if content else None
    return Plan(wanted, refused, None, status, content if status else None)


def _sorted_out(
    objects: Iterable[tuple[str, int, str | None]], prefix: str
) -> tuple[tuple[Wanted, ...], tuple[str, ...]]:
    """Return what may become a file, by key, and a sentence for everything else: others chose these names."""
    wanted: dict[str, Wanted] = {}
    refused: list[str] = []
    for key, size, sha256 in sorted(objects, key=lambda each: each[0]):
        path = _below(key, prefix)
        problem = unsafe(path, "the folder") if _is_output(key, prefix) else "is no object of this run"
        if problem:
            refused.append(f"{key}: it {problem}.")
        else:
            wanted[path] = Wanted(key, path, size, sha256)
    while clash := file_and_folder(wanted):
        refused.append(f"{wanted.pop(clash).key}: there are objects below it, so it cannot be a file.")
    return tuple(wanted.values()), tuple(refused)


def _is_output(key: str, prefix: str) -> bool:
    """Return whether ``key`` is one of a run's files: these lie in folders of their own below the run's prefix."""
    first, slash, rest = _below(key, prefix).partition("/")
    return key.startswith(f"{prefix}/" if prefix else "") and bool(slash and rest) and first in OUTPUT_FOLDERS


def _below(key: str, prefix: str) -> str:
    return key[len(prefix) + 1 if prefix else 0 :]


def _nothing(storage: Storage, bucket: str, prefix: str) -> FerryError:
    """Return what to say where no run is: perhaps it is one folder further down, or another is meant."""
    below = _runs(storage, bucket, prefix)
    if below:
        return FerryError(ErrorCode.INVALID_INPUT, f"{bucket}/{prefix} is no run, but there is {_listed(below)}.")
    parent = prefix.rpartition("/")[0]
    beside = _runs(storage, bucket, parent) if prefix else []
    there = f"{bucket}/{parent} holds {_listed(beside)}" if beside else f"{bucket}/{parent} holds nothing"
    return FerryError(ErrorCode.INVALID_INPUT, f"There is nothing at {bucket}/{prefix}: {there}.")


def _runs(storage: Storage, bucket: str, prefix: str) -> list[str]:
    return [keys.join(prefix, name) for name in sorted(storage.folder(bucket, prefix).folders)]


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
