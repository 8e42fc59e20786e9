from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from local.storage.faults import Fault
from local.storage.server import running_storage
from local.storage.tus import locks
from tests.unit.local.storage.resumables import (
    BODY,
    TUS,
    UPSERT,
    HalfAppend,
    announce,
    append,
    metadata,
    offset,
)

if TYPE_CHECKING:
    from pathlib import Path

    from local.storage.server import RunningStorage


def test_an_upload_in_two_pieces(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "d/a", 10, contentType="text/plain", cacheControl="60", metadata='{"sha256":"ab"}')
    first = append(api, url, 0, b"0123")
    assert (first.status_code, first.headers["upload-offset"]) == (204, "4")
    assert "upload-expires" in first.headers
    assert api.get(f"/object/info/{bucket}/d/a").json()["code"] == "NoSuchKey"
    last = append(api, url, 4, b"456789")
    assert last.headers["tus-complete"] == "1"
    info = api.get(f"/object/info/{bucket}/d/a").json()
    assert info["etag"] == f'"{hashlib.md5(b"0123456789", usedforsecurity=False).hexdigest()}"'
    assert (info["content_type"], info["cache_control"], info["metadata"]) == (
        "text/plain",
        "max-age=60",
        {"sha256": "ab"},
    )
    assert api.get(f"/object/{bucket}/d/a").content == b"0123456789"


def test_an_empty_object_is_there_at_once(api: httpx.Client, bucket: str) -> None:
    announce(api, bucket, "empty", 0)
    assert api.get(f"/object/info/{bucket}/empty").json()["size"] == 0


def test_a_wrong_offset_writes_nothing(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "a", 10)
    append(api, url, 0, b"0123")
    response = append(api, url, 0, b"xxxx")
    assert (response.status_code, response.text) == (409, "Upload-Offset conflict\n")
    assert offset(api, url) == 4


def test_the_length_may_come_later(api: httpx.Client, bucket: str) -> None:
    headers = {**UPSERT, **metadata(bucket, "a"), "Upload-Defer-Length": "1"}
    url = api.post("/upload/resumable", headers=headers).headers["location"]
    assert api.head(url, headers=TUS).headers["upload-defer-length"] == "1"
    assert append(api, url, 0, b"hello", {**UPSERT, "Upload-Length": "5"}).headers["tus-complete"] == "1"


def test_an_object_that_came_meanwhile_is_refused_without_upsert(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "a", 5)
    api.post(f"/object/{bucket}/a", content=b"x")
    response = append(api, url, 0, b"hello", TUS)
    assert (response.status_code, response.text) == (409, "The resource already exists")
    assert offset(api, url) == 0
    assert append(api, url, 0, b"hello").status_code == 204


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"Upload-Length": str((5 << 30) + 1)}, 413, "Maximum size exceeded\n"),
        ({}, 400, "Upload-Length or Upload-Defer-Length header required\n"),
        ({"Upload-Length": "-5"}, 400, "Invalid upload-length\n"),
        ({"Upload-Length": "5", "Tus-Resumable": ""}, 412, "Tus-Resumable Required\n"),
        ({"Upload-Length": "5", "Upload-Concat": "partial"}, 501, "Concatenation extension"),
    ],
)
def test_refused_announcements(api: httpx.Client, bucket: str, headers: dict[str, str], status: int, text: str) -> None:
    sent = {**UPSERT, **metadata(bucket, "a"), **headers}
    response = api.post("/upload/resumable", headers={name: value for name, value in sent.items() if value})
    assert response.status_code == status
    assert response.text.startswith(text)


def test_a_missing_bucket(api: httpx.Client) -> None:
    response = api.post("/upload/resumable", headers={**UPSERT, **metadata("nope", "a"), "Upload-Length": "5"})
    assert (response.status_code, response.text) == (404, "Bucket not found")


def test_a_token_that_does_not_hold_is_told_in_json(api: httpx.Client) -> None:
    response = api.post("/upload/resumable", headers={**TUS, "Authorization": "Bearer abc"})
    assert response.status_code == 400
    assert response.json()["message"] == "Invalid Compact JWS"


def test_a_terminated_upload_is_gone(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "a", 5)
    append(api, url, 0, b"he")
    assert api.delete(url, headers=UPSERT).status_code == 204
    assert append(api, url, 2, b"llo").status_code == 404


def test_a_finished_upload_whose_object_was_deleted_is_gone(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "a", 5)
    append(api, url, 0, b"hello")
    assert offset(api, url) == 5
    api.delete(f"/object/{bucket}/a")
    assert api.head(url, headers=TUS).status_code == 410


def test_bytes_of_a_cut_connection_are_kept(api: httpx.Client, bucket: str) -> None:
    url = announce(api, bucket, "a", 10)
    half = HalfAppend(api, url, 10, b"01234")
    deadline = time.monotonic() + 30
    half.cut()
    while (reached := offset(api, url)) < 5:
        assert time.monotonic() < deadline
    assert reached == 5
    append(api, url, 5, b"56789")
    assert api.get(f"/object/{bucket}/a").content == b"0123456789"


def test_a_stalled_piece_gives_way(api: httpx.Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "DRAIN_SECONDS", 0.1)
    url = announce(api, bucket, "a", 10)
    half = HalfAppend(api, url, 10, b"01234")
    deadline = time.monotonic() + 30
    # A HEAD that overtakes the PATCH on its way to the server finds nothing yet, and cuts nothing.
    while offset(api, url) != 5:
        assert time.monotonic() < deadline
    answer = half.answer()
    assert answer.startswith("http/1.1 204")
    assert "upload-offset: 5" in answer
    assert offset(api, url) == 5


def test_an_upload_that_nobody_gives_up_times_out(
    api: httpx.Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.1)
    url = announce(api, bucket, "a", 10)
    half = HalfAppend(api, url, 10, b"01234")
    deadline = time.monotonic() + 30
    while (response := append(api, url, 0, b"")).status_code != 503:
        assert time.monotonic() < deadline
    assert response.text == "acquiring lock timeout"
    half.cut()


def test_an_expired_upload(tmp_path: Path) -> None:
    with running_storage(tmp_path, upload_expiry=0.05) as server:
        headers = {"Authorization": f"Bearer {server.service_key}"}
        with httpx.Client(base_url=f"{server.url}/storage/v1", headers=headers, timeout=30) as api:
            api.post("/bucket", json={"name": "b"})
            url = announce(api, "b", "a", 5)
            deadline = time.monotonic() + 30
            while (response := append(api, url, 0, b"")).status_code == 204:
                assert time.monotonic() < deadline
    assert (response.status_code, response.text) == (410, "The file for this url no longer exists\n")


def test_an_offset_at_the_end_may_have_no_object(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    server.faults.add(Fault(method="PATCH", path="/resumable/", skip_commit=True))
    url = announce(api, bucket, "a", 5)
    response = append(api, url, 0, b"hello")
    assert (response.status_code, response.headers["upload-offset"]) == (204, "5")
    assert offset(api, url) == 5
    assert api.get(f"/object/info/{bucket}/a").json()["code"] == "NoSuchKey"
    append(api, url, 5, b"")
    assert api.get(f"/object/{bucket}/a").content == b"hello"


def test_a_resumable_creation_is_no_lock(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    headers = {**TUS, **BODY, **metadata(bucket, "a"), "Upload-Length": "1"}
    slow = server.faults.add(Fault(method="POST", path="/resumable", stall=600.0, count=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, "/upload/resumable", headers=headers, content=b"1")
        deadline = time.monotonic() + 30
        while not server.faults.hits(slow):
            assert time.monotonic() < deadline
        assert api.post("/upload/resumable", headers=headers, content=b"2").status_code == 201
        server.faults.clear()
        assert first.result(30).status_code == 201
    assert api.get(f"/object/{bucket}/a").content == b"1"
