"""What is uploaded is there, bit for bit, by either way."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from shared.storage.body import BytesBody, FileRange
from shared.storage.errors import StorageError, Trouble
from tests.conformance.transfers import TEXT, Way, content, put, read, upload

if TYPE_CHECKING:
    from pathlib import Path

    from shared.storage.client import Storage

WAYS = pytest.mark.parametrize("way", ["standard", "resumable"])
METADATA = {"sha256": "ab" * 32, "mtime": "1700000000.5", "path": "samples/ü ${x} 1.png"}


@WAYS
@pytest.mark.parametrize("size", [0, 1, 300_001])
def test_an_uploaded_object_is_what_was_sent(storage: Storage, bucket: str, folder: str, way: Way, size: int) -> None:
    data = content(size)
    upload(storage, way, bucket, f"{folder}/a.txt", data, METADATA)
    record = storage.info(bucket, f"{folder}/a.txt")
    assert record is not None
    assert record.key == f"{folder}/a.txt"
    assert record.size == size
    assert record.md5 in {None, hashlib.md5(data, usedforsecurity=False).hexdigest()}
    assert record.content_type == TEXT
    assert record.metadata == METADATA
    assert record.version
    assert record.modified
    assert read(storage, bucket, f"{folder}/a.txt") == data


@WAYS
def test_a_file_name_that_is_not_utf_8_does_not_break_the_metadata(
    storage: Storage, bucket: str, folder: str, way: Way
) -> None:
    upload(storage, way, bucket, f"{folder}/a", b"x", {"path": b"\xff.png".decode(errors="surrogateescape")})
    record = storage.info(bucket, f"{folder}/a")
    assert record is not None
    assert record.metadata == {"path": "\\udcff.png"}


@WAYS
def test_an_overwrite_replaces_content_metadata_and_version(
    storage: Storage, bucket: str, folder: str, way: Way
) -> None:
    upload(storage, way, bucket, f"{folder}/a", b"old!", {"step": "1"})
    before = storage.info(bucket, f"{folder}/a")
    upload(storage, way, bucket, f"{folder}/a", b"new!", {"step": "2"})
    after = storage.info(bucket, f"{folder}/a")
    assert before is not None
    assert after is not None
    assert before.version != after.version
    assert after.metadata == {"step": "2"}
    assert read(storage, bucket, f"{folder}/a") == b"new!"


@WAYS
def test_metadata_does_not_outlive_the_content_it_describes(
    storage: Storage, bucket: str, folder: str, way: Way
) -> None:
    upload(storage, way, bucket, f"{folder}/a", b"old", {"step": "1"})
    upload(storage, way, bucket, f"{folder}/a", b"new")
    record = storage.info(bucket, f"{folder}/a")
    assert record is not None
    assert record.metadata == {}


def test_without_upsert_an_object_that_is_there_stays(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"first")
    with pytest.raises(StorageError) as caught:
        storage.put(bucket, f"{folder}/a", BytesBody(b"second"), content_type=TEXT, metadata={}, upsert=False)
    assert caught.value.trouble is Trouble.EXISTS
    assert read(storage, bucket, f"{folder}/a") == b"first"


def test_without_upsert_a_new_object_is_made(storage: Storage, bucket: str, folder: str) -> None:
    storage.put(bucket, f"{folder}/a", BytesBody(b"first"), content_type=TEXT, metadata={}, upsert=False)
    assert read(storage, bucket, f"{folder}/a") == b"first"


def test_a_range_of_a_file_is_uploaded(storage: Storage, bucket: str, folder: str, tmp_path: Path) -> None:
    data = content(600_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    seen = hashlib.sha256()
    body = FileRange(path, 100_000, 400_000, tap=seen.update)
    storage.put(bucket, f"{folder}/a", body, content_type=TEXT, metadata={})
    assert read(storage, bucket, f"{folder}/a") == data[100_000:500_000]
    assert seen.digest() == hashlib.sha256(data[100_000:500_000]).digest()


def test_a_file_that_became_shorter_leaves_the_old_object(
    storage: Storage, bucket: str, folder: str, tmp_path: Path
) -> None:
    put(storage, bucket, f"{folder}/a", b"whole")
    path = tmp_path / "file"
    path.write_bytes(content(200_000))
    with pytest.raises(StorageError) as caught:
        storage.put(bucket, f"{folder}/a", FileRange(path, 0, 300_000), content_type=TEXT, metadata={})
    assert caught.value.trouble is Trouble.CHANGED
    assert read(storage, bucket, f"{folder}/a") == b"whole"


@WAYS
@pytest.mark.parametrize("content_type", ["image/png", "text/plain;charset=UTF-8", "application/octet-stream"])
def test_the_content_type_is_kept(storage: Storage, bucket: str, folder: str, way: Way, content_type: str) -> None:
    key = f"{folder}/a"
    if way == "standard":
        storage.put(bucket, key, BytesBody(b"x"), content_type=content_type, metadata={})
    else:
        made = storage.create_upload(bucket, key, 1, content_type=content_type, metadata={})
        storage.append(made.url, 0, BytesBody(b"x"))
    record = storage.info(bucket, key)
    assert record is not None
    assert record.content_type == content_type
