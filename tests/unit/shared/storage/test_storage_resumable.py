from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from tests.unit.shared.storage.scripted import KEY, UPLOAD, Script, storage

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = {"content-type": "text/plain;charset=UTF-8"}


def created(location: str = UPLOAD, **headers: str) -> httpx.Response:
    return httpx.Response(201, headers={"location": location, **headers})


def reached(offset: int | str) -> httpx.Response:
    return httpx.Response(204, headers={"upload-offset": str(offset)})


def test_a_creation_announces_what_is_to_come() -> None:
    client, script = storage(created(**{"upload-expires": "Tue, 24 Nov 2026 23:11:11 GMT"}))
    made = client.create_upload("b", "k/a.bin", 10, content_type="text/plain", metadata={"sha256": "ab"})
    [request] = script.requests
    assert (request.method, str(request.url)) == ("POST", UPLOAD.removesuffix("/abc"))
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["tus-resumable"] == "1.0.0"
    assert request.headers["upload-length"] == "10"
    assert request.headers["x-upsert"] == "true"
    assert request.headers["content-length"] == "0"
    assert f"objectName {base64.b64encode(b'k/a.bin').decode()}" in request.headers["upload-metadata"]
    assert (made.url, made.expires, made.offset) == (UPLOAD, "Tue, 24 Nov 2026 23:11:11 GMT", 0)


def test_the_direct_host_of_a_hosted_project_is_used_and_kept() -> None:
    location = "https://abc.supabase.co/storage/v1/upload/resumable/id"
    script = Script([created(location), reached(1)])
    client = script.storage("https://abc.supabase.co")
    made = client.create_upload("b", "k", 1, content_type="text/plain", metadata={})
    assert made.url == "https://abc.storage.supabase.co/storage/v1/upload/resumable/id"
    client.append(location, 0, BytesBody(b"x"))
    assert {request.url.host for request in script.requests} == {"abc.storage.supabase.co"}


def test_a_part_is_sent_with_its_offset_and_length() -> None:
    client, script = storage(reached(300_010))
    data = b"0123456789" * 30_000
    assert client.append(UPLOAD, 10, BytesBody(data)) == 300_010
    [request] = script.requests
    assert request.method == "PATCH"
    assert request.headers["upload-offset"] == "10"
    assert request.headers["content-length"] == "300000"
    assert request.headers["content-type"] == "application/offset+octet-stream"
    assert request.headers["x-upsert"] == "true"
    assert "transfer-encoding" not in request.headers
    assert request.content == data


def test_the_servers_offset_counts_even_where_less_was_taken_than_sent() -> None:
    client, _ = storage(reached(4))
    assert client.append(UPLOAD, 0, BytesBody(b"0123456789")) == 4


@pytest.mark.parametrize("answer", [reached(11), reached(""), reached("x"), httpx.Response(204)])
def test_an_offset_that_cannot_be_is_not_believed(answer: httpx.Response) -> None:
    client, _ = storage(answer)
    with pytest.raises(StorageError) as caught:
        client.append(UPLOAD, 0, BytesBody(b"0123456789"))
    assert caught.value.trouble is Trouble.BROKEN


class PromisingTen:
    """Promises ten bytes, whatever it yields."""

    size = 10

    def __init__(self, blocks: tuple[bytes, ...]) -> None:
        self._blocks = blocks

    def blocks(self) -> Iterator[bytes]:
        return iter(self._blocks)


@pytest.mark.parametrize("blocks", [(b"0123",), (b"01234567", b"8901"), ()])
def test_a_body_that_breaks_its_promise_is_not_taken_for_sent(blocks: tuple[bytes, ...]) -> None:
    client, script = storage(reached(10))
    with pytest.raises(StorageError) as caught:
        client.append(UPLOAD, 0, PromisingTen(blocks))
    assert caught.value.trouble is Trouble.CHANGED
    assert script.requests == []


def test_nothing_beyond_the_promise_is_sent() -> None:
    asked: list[int] = []

    class Endless(PromisingTen):
        def blocks(self) -> Iterator[bytes]:
            while True:
                asked.append(4)
                yield b"0123"

    client, _ = storage(reached(10))
    with pytest.raises(StorageError):
        client.append(UPLOAD, 0, Endless(()))
    assert asked == [4, 4, 4]


def test_the_offset_is_asked_for() -> None:
    client, script = storage(httpx.Response(200, headers={"upload-offset": "6291456", "upload-length": "9999999"}))
    assert client.upload_offset(UPLOAD) == 6291456
    [request] = script.requests
    assert request.method == "HEAD"
    assert "content-length" not in request.headers


@pytest.mark.parametrize(
    ("status", "content_type", "trouble"),
    [
        (404, "text/plain;charset=UTF-8", Trouble.UPLOAD_GONE),
        (410, "text/plain;charset=UTF-8", Trouble.UPLOAD_GONE),
        (400, "text/plain;charset=UTF-8", Trouble.UPLOAD_GONE),
        (400, "application/json; charset=utf-8", Trouble.DENIED),
        (423, "text/plain;charset=UTF-8", Trouble.LOCKED),
        (409, "text/plain;charset=UTF-8", Trouble.OFFSET_CONFLICT),
        (404, "text/html", Trouble.BROKEN),
        (502, "text/html", Trouble.UNREACHABLE),
    ],
)
def test_a_head_tells_by_its_status_alone(status: int, content_type: str, trouble: Trouble) -> None:
    client, _ = storage(httpx.Response(status, headers={"content-type": content_type}))
    with pytest.raises(StorageError) as caught:
        client.upload_offset(UPLOAD)
    assert caught.value.trouble is trouble


def test_finishing_sends_nothing_at_the_end() -> None:
    client, script = storage(reached(10))
    client.finish(UPLOAD, 10)
    [request] = script.requests
    assert (request.method, request.headers["upload-offset"], request.content) == ("PATCH", "10", b"")
    assert request.headers["content-length"] == "0"
    assert request.headers["x-upsert"] == "true"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(204),
        httpx.Response(404, headers=PLAIN, text="The file for this url was not found\n"),
        httpx.Response(410, headers=PLAIN, text="The file for this url no longer exists\n"),
        httpx.Response(400, headers=PLAIN, text="Cannot terminate an already completed upload"),
    ],
)
def test_dropping_an_upload_that_is_gone_is_no_failure(answer: httpx.Response) -> None:
    client, script = storage(answer)
    client.terminate(UPLOAD)
    [request] = script.requests
    assert (request.method, request.headers["x-upsert"]) == ("DELETE", "true")


def test_dropping_an_upload_in_vain_is_one() -> None:
    client, _ = storage(httpx.Response(423, headers=PLAIN))
    with pytest.raises(StorageError) as caught:
        client.terminate(UPLOAD)
    assert caught.value.trouble is Trouble.LOCKED


def test_whether_a_size_is_taken_is_asked_by_announcing_it() -> None:
    client, script = storage(created(), httpx.Response(204))
    assert client.takes("b", 5 << 30)
    announced, dropped = script.requests
    assert announced.headers["upload-length"] == str(5 << 30)
    assert (dropped.method, str(dropped.url)) == ("DELETE", UPLOAD)


def test_an_announcement_that_cannot_be_dropped_is_an_answer_all_the_same() -> None:
    client, _ = storage(created(), httpx.Response(500))
    assert client.takes("b", 1)


def test_a_size_that_is_refused_is_not_taken() -> None:
    client, _ = storage(httpx.Response(413, headers=PLAIN, text="Maximum size exceeded\n"))
    assert not client.takes("b", 1)


def test_another_refusal_is_no_answer() -> None:
    client, _ = storage(httpx.Response(404, headers=PLAIN, text="Bucket not found"))
    with pytest.raises(StorageError) as caught:
        client.takes("b", 1)
    assert caught.value.trouble is Trouble.BUCKET_NOT_FOUND


def test_an_empty_size_is_not_announced_as_it_is_because_it_would_come_into_being() -> None:
    client, script = storage(created(), httpx.Response(204))
    client.takes("b", 0)
    assert script.requests[0].headers["upload-length"] == "1"
