"""On what kind of disk a folder lies, and whether that outlives the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NETWORK = ("nfs", "cifs", "smb", "ceph", "fuse", "lustre", "gluster", "9p", "beegfs", "weka", "virtiofs", "gpfs")
# A container's own layers, whoever lays them, and memory.
_FLEETING = ("overlay", "fuse.fuse-overlayfs", "aufs", "tmpfs", "ramfs", "devtmpfs")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system: where it is mounted, and its type as the kernel calls it."""

    path: str
    kind: str

    @property
    def network(self) -> bool:
        """Return whether others may see it, too."""
        return self.kind.startswith(_NETWORK) and not self.fleeting

    @property
    def fleeting(self) -> bool:
        """Return whether it goes with the container."""
        return self.kind.startswith(_FLEETING)

    def __str__(self) -> str:
        return f"{self.kind} at {self.path}"


def mounts() -> tuple[Mount, ...]:
    """Return every file system that is mounted here, in the order of mounting."""
    return tuple(Mount(each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True))


def mount_of(folder: Path, among: Iterable[Mount]) -> Mount | None:
    """Return the file system that ``folder`` lies on, or will; of several at one place the last covers the others."""
    resolved = folder.resolve()
    found = [each for each in among if resolved.is_relative_to(each.path)]
    return max(reversed(found), key=lambda each: len(each.path), default=None)
