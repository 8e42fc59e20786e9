"""Comparing every object of a run with its local file, byte for byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.contract.bucket import MANIFEST, Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from shared.storage.client import Storage


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many objects are the same as their local file, which ones differ, and whose file the trainer deleted."""

    same: int
    different: tuple[str, ...]
    deleted: int


def compare(storage: Storage, bucket: str, prefix: str, output: Path) -> Comparison:
    """Download everything that the manifest lists and compare its SHA-256 with the manifest and the local file."""
    content = storage.read(bucket, f"{prefix}/{MANIFEST}")
    manifest = Manifest.parse(content) if content else None
    if manifest is None:
        return Comparison(0, ("there is no manifest",), 0)
    same = deleted = 0
    different = []
    for entry in manifest.files:
        local = output / entry.path
        there = _downloaded(storage, bucket, entry.key)
        here = _digest_of(local) if local.is_file() else None
        if there != entry.sha256 or here not in {None, there}:
            different.append(entry.key)
        elif here is None:
            deleted += 1
        else:
            same += 1
    return Comparison(same, tuple(different), deleted)


def _downloaded(storage: Storage, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    with storage.open(bucket, key) as download:
        for block in download.blocks():
            digest.update(block)
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
