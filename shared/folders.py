"""A checkpoint that is a folder: whole when the file that completes it says so of the very files that are there.

ai-toolkit writes ``aitk_meta.yaml`` last into the folder of a model that is trained as a whole, and so it is uploaded
last. But another file may have failed for good before, and a later session may write the same step once more. So its
object's metadata carries a seal of all the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LAST = "aitk_meta.yaml"
# How the name of a folder ends that gets none: that of a VAE.
UNMARKED = "_diffusers"
# The metadata field of the object that completes a folder.
SEAL = "folder"


def completes(path: str) -> bool:
    """Return whether the file at ``path`` is the one that completes its folder."""
    return path.endswith(f"/{LAST}")


def completing(path: str) -> Iterator[str]:
    """Yield the paths of what would complete the folders that the file at ``path`` lies in, except itself."""
    folder = path.rpartition("/")[0]
    while folder:
        if f"{folder}/{LAST}" != path:
            yield f"{folder}/{LAST}"
        folder = folder.rpartition("/")[0]


def seal(others: Mapping[str, str]) -> str:
    """Return the seal of a folder: of the other files' SHA-256 by their path."""
    told = "".join(f"{sha256} {path}\n" for path, sha256 in sorted(others.items()))
    return hashlib.sha256(told.encode()).hexdigest()
