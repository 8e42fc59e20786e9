from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from storage3.types import SearchV2Object

from shared.storage.metadata import read_metadata, upload_metadata, user_metadata
from shared.storage.records import BucketRecord, ObjectRecord, md5_of
from shared.storage.rows import record_of_info, record_of_row

MD5 = "781e5e245d69b566979b86e28d23f2c7"


@pytest.mark.parametrize(
    ("etag", "md5"),
    [(MD5, MD5), (MD5.upper(), MD5), (f"{MD5}-3", None), (MD5[:-1], None), ("x" * 32, None), ("", None), (None, None)],
)
def test_an_etag_is_an_md5_only_where_it_looks_like_one(etag: str | None, md5: str | None) -> None:
    assert md5_of(etag) == md5
    assert ObjectRecord("k", 1, etag).md5 == md5


def row(metadata: dict[str, object] | None) -> SearchV2Object:
    when = datetime(2026, 11, 23, tzinfo=UTC)
    return SearchV2Object(id="1", name="P/a.txt", key="a.txt", updated_at=when, created_at=when, metadata=metadata)


def test_a_row_of_a_listing_becomes_a_record() -> None:
    metadata: dict[str, object] = {
        "eTag": f'"{MD5}"',
        "size": 10,
        "mimetype": "text/plain",
        "cacheControl": "no-cache",
        "lastModified": "2026-11-23T23:11:08.718Z",
    }
    record = record_of_row(row(metadata))
    assert (record.key, record.size, record.etag, record.md5) == ("P/a.txt", 10, MD5, MD5)
    assert (record.content_type, record.modified) == ("text/plain", "2026-11-23T23:11:08.718Z")
    assert (record.version, record.metadata) == (None, {})


def test_a_row_without_metadata_is_an_empty_object() -> None:
    assert record_of_row(row(None)) == ObjectRecord("P/a.txt", 0)


def test_an_info_becomes_a_record() -> None:
    raw = {
        "name": "g/a.txt",
        "version": "d92cadbf",
        "size": 10,
        "content_type": "text/plain",
        "etag": f'"{MD5}"',
        "metadata": {"mtime": "1", "n": 3, "deep": {"a": [1, None]}},
        "last_modified": "2026-11-23T23:11:08.923Z",
    }
    record = record_of_info(raw)
    assert (record.key, record.size, record.md5, record.version) == ("g/a.txt", 10, MD5, "d92cadbf")
    assert record.metadata == {"mtime": "1", "n": "3", "deep": '{"a": [1, null]}'}
    assert record_of_info({**raw, "metadata": None}).metadata == {}


@pytest.mark.parametrize("raw", [{}, {"name": "a"}, {"name": "a", "size": None}])
def test_what_is_no_info_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        record_of_info(raw)


def test_metadata_survives_the_header() -> None:
    metadata = {"path": 'ü "x" \n', "sha256": "ab"}
    header = user_metadata(metadata)
    assert header.isascii()
    assert read_metadata(json.loads(base64.b64decode(header))) == metadata


def test_a_name_that_is_not_utf_8_becomes_printable() -> None:
    name = b"\xff.png".decode(errors="surrogateescape")
    assert json.loads(base64.b64decode(user_metadata({"path": name}))) == {"path": "\\udcff.png"}


def test_an_upload_is_described_in_base64() -> None:
    header = upload_metadata("b", "k/a.bin", "text/plain", {"k": "v"})
    fields = dict(field.split(" ") for field in header.split(","))
    assert {name: base64.b64decode(value).decode() for name, value in fields.items()} == {
        "bucketName": "b",
        "objectName": "k/a.bin",
        "contentType": "text/plain",
        "metadata": '{"k": "v"}',
    }


def test_no_metadata_is_said_too() -> None:
    assert upload_metadata("b", "k", "t", {}).endswith(f"metadata {base64.b64encode(b'{}').decode()}")


@pytest.mark.parametrize(
    ("allowed", "taken"),
    [(None, True), ((), True), (("image/*", " application/json"), False), (("*/*",), True), (("text/plain ",), True)],
)
def test_a_bucket_takes_what_its_types_allow(allowed: tuple[str, ...] | None, taken: bool) -> None:
    bucket = BucketRecord("b", public=False, file_size_limit=None, allowed_mime_types=allowed)
    assert bucket.allows("text/plain") is taken
