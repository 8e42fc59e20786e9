"""What a storm has done to the bucket, judged by what the trainer itself recorded. Pure rules.

The trainer notes each version of a file before its first byte and after its last one, outside of what is uploaded.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from uploader.parcel import STANDARD_LIMIT
from uploader.sending import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.contract.bucket import Entry, Manifest


# A line of the record: what the trainer had completed until then went with the worker, where it was not delivered.
DISK_LOST = "disk lost"


@dataclass
class Versions:
    """The versions of one path: digest and size of each that was begun, and which of them was completed last."""

    begun: list[tuple[str, int]] = field(default_factory=list)
    done: int | None = None

    @property
    def acceptable(self) -> frozenset[str]:
        """Return the digests that may be there in the end: the last complete one, and what was begun after it."""
        first = 0 if self.done is None else self.done
        return frozenset(digest for digest, _ in self.begun[first:])


@dataclass
class Verdict:
    """What went wrong, a line each; all empty is what is promised.

    ``corrupt``: an object is not what the manifest says; ``mixed``: it is no version that the trainer ever made.
    """

    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    false_manifests: list[str] = field(default_factory=list)
    sent_twice: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Return what went wrong by its kind."""
        return {
            "lost": self.lost,
            "corrupt": self.corrupt,
            "mixed": self.mixed,
            "false manifest": self.false_manifests,
            "sent twice": self.sent_twice,
            "failed": self.failed,
        }

    @property
    def faults(self) -> list[str]:
        """Return everything that went wrong."""
        return [f"{kind}: {line}" for kind, lines in self.kinds.items() for line in lines]


def versions_of(record: Iterable[str]) -> dict[str, Versions]:
    """Return the recorded versions by path below ``output/``. A kill may have torn a line."""
    found: dict[str, Versions] = defaultdict(Versions)
    for line in record:
        if line == DISK_LOST:
            for versions in found.values():
                versions.done = None
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        versions = found[entry["path"].partition("/output/")[2]]
        version = (entry["sha256"], entry["size"])
        if entry["state"] == "begun":
            versions.begun.append(version)
        else:
            versions.done = max(number for number, each in enumerate(versions.begun) if each == version)
    return dict(found)


def judge(recorded: Mapping[str, Versions], manifests: Iterable[Manifest], content: Mapping[str, str]) -> Verdict:
    """Return the verdict on a bucket. ``manifests``: the last one first; ``content``: the digest of each object."""
    verdict = Verdict()
    last, *earlier = manifests
    # What an earlier run left at keys that no later one used is still there.
    entries = {entry.path: entry for manifest in (*earlier, last) for entry in manifest.files}
    named = {missing.path for manifest in (last, *earlier) for missing in manifest.missing}
    for path, versions in recorded.items():
        entry = entries.get(path)
        if entry is None:
            # A checkpoint that is a folder, and that nobody saw, is named as one.
            told = {path, *map(str, PurePosixPath(path).parents)}
            if versions.done is not None and not told & named:
                verdict.lost.append(path)
        elif not entry.incomplete:
            _judge(entry, versions, content, verdict)
    return verdict


def _judge(entry: Entry, versions: Versions, content: Mapping[str, str], verdict: Verdict) -> None:
    there = content.get(entry.key)
    if there != entry.sha256:
        verdict.corrupt.append(f"{entry.path} is not what the manifest says")
    if there not in {digest for digest, _ in versions.begun}:
        verdict.mixed.append(f"{entry.path} is no version that the trainer made")
    elif there not in versions.acceptable:
        verdict.lost.append(f"{entry.path}: an older version than the last complete one is there")


def may_be_sent(versions: Versions, blows: int, cuts: int) -> int:
    """Return how many bytes of a path may cross the line: each version once, and a chunk more for each interruption.

    ``blows`` were dealt to a process, ``cuts`` to an exchange about this very path.
    """
    whole = sum(size for _, size in versions.begun)
    largest = max((size for _, size in versions.begun), default=0)
    again = largest if largest <= STANDARD_LIMIT else CHUNK_BYTES
    return whole + again * (blows + cuts)
