"""The rules that need no server: ranges, metadata, times, the protocol's headers and identities."""

from __future__ import annotations

import json

import pytest

from local.storage import jsonb, stats, times
from local.storage.ranges import byte_range
from local.storage.refusals import RefusedError
from local.storage.tus import headers
from local.storage.tus.identity import UploadId


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=2-5", (2, 6)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-100", (0, 10)),
        ("bytes=8-100", (8, 10)),
        ("bytes=0-0", (0, 1)),
    ],
)
def test_ranges(header: str, found: tuple[int, int]) -> None:
    assert byte_range(header, 10) == found


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=5-2", "bytes=0-1,4-5", "nonsense", "bytes=-", "bytes=-0", "bytes= 0-1", "items=0-1"]
)
def test_refused_ranges(header: str) -> None:
    with pytest.raises(RefusedError) as caught:
        byte_range(header, 10)
    assert caught.value.http_status == 416


def test_an_empty_object_has_no_range() -> None:
    with pytest.raises(RefusedError):
        byte_range("bytes=0-", 0)


def test_metadata_come_back_in_the_order_of_jsonb() -> None:
    text = json.dumps({"sha256": "a", "mtime": "b", "deep": {"zz": 1, "a": None}, "ü": [{"bb": 1, "a": 2}]})
    assert jsonb.from_text(text) == '{"ü":[{"a":2,"bb":1}],"deep":{"a":null,"zz":1},"mtime":"b","sha256":"a"}'


@pytest.mark.parametrize("text", ["nope", "", None, "null"])
def test_what_is_no_metadata_is_ignored(text: str | None) -> None:
    assert jsonb.from_text(text) is None


@pytest.mark.parametrize("text", ["[1]", '"a"'])
def test_metadata_that_the_database_refuses(text: str) -> None:
    with pytest.raises(RefusedError, match="invalid input syntax for type json"):
        jsonb.from_text(text)


def test_a_header_that_is_not_base64_is_ignored() -> None:
    assert jsonb.from_header("%%%") is None
    assert jsonb.from_header("eyJhIjoiYiJ9") == '{"a":"b"}'


def test_times() -> None:
    moment = 1_700_000_000_123_456
    assert times.iso(moment) == "2023-11-14T22:13:20.123Z"
    assert times.parse_iso(times.iso(moment)) == 1_700_000_000_123_000
    assert times.http_date(moment) == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert times.parse_http_date(times.http_date(moment)) == 1_700_000_000_000_000
    assert times.parse_http_date("soon") is None


def test_upload_metadata_come_back_as_they_were_sent() -> None:
    header = "bucketName dHVz,flag,objectName ZC9hLmJpbg=="
    assert headers.parse_metadata(header) == {"bucketName": "tus", "flag": None, "objectName": "d/a.bin"}
    assert headers.format_metadata(headers.parse_metadata(header)) == header


@pytest.mark.parametrize("header", ["", "a b c", "a b", "a,a", "ü dHVz"])
def test_broken_upload_metadata(header: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        headers.parse_metadata(header)


def test_invalid_headers_are_named_in_alphabetical_order() -> None:
    sent = {"upload-length": "-5", "tus-resumable": "0.2", "content-type": "text/plain", "upload-offset": "01"}
    assert headers.invalid(sent, "POST") == ["tus-resumable", "upload-length", "upload-offset"]
    assert headers.invalid(sent, "PATCH")[0] == "content-type"


def test_an_uploads_address_holds_bucket_key_and_version() -> None:
    identity = UploadId("tus", "d/a.bin", "88106482-7da5-486a-b711-7a73e5d924bc")
    assert identity.segment() == "dHVzL2QvYS5iaW4vODgxMDY0ODItN2RhNS00ODZhLWI3MTEtN2E3M2U1ZDkyNGJj"
    assert UploadId.read(identity.segment()) == identity


@pytest.mark.parametrize(
    ("segment", "message"),
    [("zzz", "Invalid upload id"), ("YWIvYw", "Invalid key: "), ("YWIvYy8", "Version not provided")],
)
def test_addresses_that_are_none(segment: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        UploadId.read(segment)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/storage/v1/bucket/x", "bucket"),
        ("/storage/v1/object/b/k", "object"),
        ("/storage/v1/object/info/b/k", "object/info"),
        ("/storage/v1/object/list-v2/b", "object/list-v2"),
        ("/storage/v1/upload/resumable/abc", "upload/resumable"),
        ("/elsewhere", "other"),
    ],
)
def test_route_classes(path: str, kind: str) -> None:
    assert stats.route_class(path) == kind
