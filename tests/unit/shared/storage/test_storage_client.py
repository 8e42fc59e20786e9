from __future__ import annotations

import base64
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.settings import StorageSettings
from shared.storage.body import BytesBody
from shared.storage.client import Storage
from shared.storage.errors import StorageError, Trouble
from tests.unit.shared.storage.scripted import (
    KEY,
    PROJECT,
    Script,
    bucket_row,
    denied,
    no_bucket,
    no_object,
    page,
    refusal,
    sent,
    storage,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_an_upload_carries_what_the_object_is_to_be() -> None:
    client, script = storage(httpx.Response(200, json={"Key": "b/k"}))
    client.put("b", "a b/k?.png", BytesBody(b"hello"), content_type="image/png", metadata={"sha256": "ab"})
    [request] = script.requests
    assert request.method == "POST"
    assert request.url.raw_path == b"/storage/v1/object/b/a%20b/k%3F.png"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["apikey"] == KEY
    assert request.headers["content-type"] == "image/png"
    assert request.headers["content-length"] == "5"
    assert request.headers["x-upsert"] == "true"
    assert json.loads(base64.b64decode(request.headers["x-metadata"])) == {"sha256": "ab"}
    assert "transfer-encoding" not in request.headers
    assert request.content == b"hello"


def test_without_upsert_the_server_is_told_so() -> None:
    client, script = storage(httpx.Response(200))
    client.put("b", "k", BytesBody(b""), content_type="text/plain", metadata={}, upsert=False)
    assert script.requests[0].headers["x-upsert"] == "false"


def test_control_calls_carry_the_key_too() -> None:
    client, script = storage(bucket_row())
    assert client.bucket("b").name == "b"
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_walk_goes_on_by_cursor_and_holds_one_page() -> None:
    client, script = storage(page("P/a", "P/b", cursor="c1"), page("P/c"))
    walk = client.walk("b", "P")
    assert next(walk).key == "P/a"
    assert len(script.requests) == 1
    assert [record.key for record in walk] == ["P/b", "P/c"]
    first, second = (sent(request) for request in script.requests)
    assert (first["prefix"], first["limit"], first.get("cursor")) == ("P/", 1000, None)
    assert second["cursor"] == "c1"


def test_a_walk_leaves_out_what_a_lax_server_adds() -> None:
    client, _ = storage(page("P/a", "p/b"))
    assert [record.key for record in client.walk("b", "P")] == ["P/a"]


def test_a_folder_is_listed_over_all_pages() -> None:
    client, script = storage(page("P/a", cursor="c1", folders=("P/x/",)), page("P/b", folders=("P/x/", "P/y/")))
    listing = client.folder("b", "P")
    assert listing.folders == ("x", "y")
    assert [record.key for record in listing.files] == ["P/a", "P/b"]
    assert all(sent(request)["with_delimiter"] is True for request in script.requests)


def test_nothing_found_asks_for_the_bucket() -> None:
    for listed in ("walk", "folder"):
        client, _ = storage(page(), no_bucket())
        with pytest.raises(StorageError) as caught:
            list(client.walk("b", "P")) if listed == "walk" else client.folder("b", "P")
        assert caught.value.trouble is Trouble.BUCKET_NOT_FOUND


def test_a_refused_key_is_not_taken_for_a_missing_bucket() -> None:
    client, _ = storage(no_bucket(), denied())
    with pytest.raises(StorageError) as caught:
        client.info("b", "k")
    assert caught.value.trouble is Trouble.DENIED


def test_the_key_never_shows() -> None:
    client, _ = storage(denied(), denied(), denied())
    for call in (
        lambda: client.bucket("b"),
        lambda: client.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={}),
        lambda: client.read("b", "k"),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.trouble is Trouble.DENIED
        assert KEY not in str(caught.value)


@pytest.mark.guarantee("nothing-lost", fault="the key is rotated while requests are made")
def test_a_rotated_key_goes_with_the_very_next_request_and_none_of_both_shows(tmp_path: Path) -> None:
    file, fresh = tmp_path / "key", tmp_path / "fresh"
    file.write_text(KEY)
    new = f"{KEY}-new"
    script = Script([bucket_row(), refusal("403", "Unauthorized", f"neither {KEY} nor {new}", "AccessDenied")])
    client = Storage(StorageSettings(PROJECT, KEY, file), transport=httpx.MockTransport(script))
    client.bucket("b")
    fresh.write_text(new)
    fresh.replace(file)
    with pytest.raises(StorageError) as caught:
        client.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={})
    carried = [(request.headers["authorization"], request.headers["apikey"]) for request in script.requests]
    assert carried == [(f"Bearer {key}", key) for key in (KEY, new)]
    assert KEY not in caught.value.sentence


@pytest.mark.parametrize("key", ["", "two\nlines", "two words", "schlüssel", "\x00"])
def test_a_key_that_no_header_can_hold_is_refused_at_once(key: str) -> None:
    with pytest.raises(StorageError) as caught:
        Storage(StorageSettings(PROJECT, key))
    assert caught.value.trouble is Trouble.DENIED
    assert not key or key not in caught.value.sentence


def test_a_missing_object_is_none() -> None:
    client, _ = storage(no_object(), no_object())
    assert client.info("b", "k") is None
    assert client.read("b", "k") is None


def test_a_document_is_read_up_to_its_limit() -> None:
    client, script = storage(
        httpx.Response(200, content=iter([b"12345"])), httpx.Response(200, content=iter([b"123", b"456"]))
    )
    assert client.read("b", "k", limit=5) == b"12345"
    with pytest.raises(StorageError) as caught:
        client.read("b", "k", limit=5)
    assert caught.value.trouble is Trouble.TOO_LARGE
    assert script.requests[0].headers["accept-encoding"] == "identity"
    assert script.requests[0].url.path == "/storage/v1/object/authenticated/b/k"
    assert "range" not in script.requests[0].headers


def test_a_download_goes_on_from_a_byte() -> None:
    headers = {"content-range": "bytes 5-9/10", "etag": '"781e5e245d69b566979b86e28d23f2c7"'}
    client, script = storage(httpx.Response(206, headers=headers, content=iter([b"56", b"789"])))
    with client.open("b", "k", start=5) as download:
        assert (download.size, download.md5) == (10, "781e5e245d69b566979b86e28d23f2c7")
        assert b"".join(download.blocks()) == b"56789"
    assert script.requests[0].headers["range"] == "bytes=5-"


@pytest.mark.parametrize("headers", [{}, {"content-range": "bytes 0-9/10"}, {"content-range": "lines 5-9/10"}])
def test_a_server_that_starts_elsewhere_is_not_believed(headers: dict[str, str]) -> None:
    client, _ = storage(httpx.Response(206, headers=headers, content=b"0123456789"))
    with pytest.raises(StorageError) as caught, client.open("b", "k", start=5):
        pass
    assert caught.value.trouble is Trouble.BROKEN


def test_an_error_of_the_reader_passes_through() -> None:
    client, _ = storage(httpx.Response(200, content=b"x"))
    with pytest.raises(ValueError, match="mine"), client.open("b", "k"):
        raise ValueError("mine")


def test_a_page_of_somebody_else_is_no_answer_of_storage() -> None:
    client, _ = storage(httpx.Response(200, headers={"content-type": "text/html"}, text="<html>Log in</html>"))
    with pytest.raises(StorageError) as caught:
        list(client.walk("b", ""))
    assert caught.value.trouble is Trouble.BROKEN
    assert caught.value.transient


@pytest.mark.parametrize("answer", [[], {}, {"name": "b"}, None])
def test_json_of_somebody_else_is_none_either(answer: object) -> None:
    for call in ("bucket", "info"):
        client, _ = storage(httpx.Response(200, json=answer))
        with pytest.raises(StorageError) as caught:
            client.bucket("b") if call == "bucket" else client.info("b", "k")
        assert caught.value.trouble is Trouble.BROKEN


def test_a_redirect_is_not_followed_with_the_key() -> None:
    client, script = storage(httpx.Response(301, headers={"location": "https://elsewhere.test/"}))
    with pytest.raises(StorageError) as caught:
        client.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={})
    assert "https://elsewhere.test/" in caught.value.sentence
    assert len(script.requests) == 1


def test_objects_are_removed_a_thousand_at_a_time() -> None:
    client, script = storage(*[httpx.Response(200, json=[]) for _ in range(3)])
    client.remove("b", [str(number) for number in range(2001)])
    batches = [sent(request)["prefixes"] for request in script.requests]
    assert [len(batch) for batch in batches if isinstance(batch, list)] == [1000, 1000, 1]


def test_removing_nothing_asks_nothing() -> None:
    client, script = storage()
    client.remove("b", [])
    assert script.requests == []


def test_a_bucket_is_emptied_before_it_is_removed() -> None:
    done = httpx.Response(200, json=[])
    client, script = storage(page("a", cursor="c1"), done, page("b"), done, httpx.Response(200, json={}))
    client.remove_bucket("x")
    assert [request.method for request in script.requests] == ["POST", "DELETE", "POST", "DELETE", "DELETE"]
    assert script.requests[-1].url.path == "/storage/v1/bucket/x"


def test_a_signed_address_is_made_of_the_token_and_our_own_words() -> None:
    told = {"error": None, "path": "k?.png", "signedURL": "/object/sign/b/k?.png?token=a.b.c"}
    client, _ = storage(httpx.Response(200, json=[told]))
    signed = client.signed_urls("b", ["k?.png"], 60)
    assert signed == {"k?.png": f"{PROJECT}/storage/v1/object/sign/b/k%3F.png?token=a.b.c"}


def test_an_object_that_cannot_be_signed_has_no_address_and_the_others_have_theirs() -> None:
    none = {"error": "Either the object does not exist or you do not have access", "path": "k", "signedURL": None}
    one = {"error": None, "path": "l", "signedURL": "/object/sign/b/l?token=a.b.c"}
    client, _ = storage(httpx.Response(200, json=[none, one]))
    assert client.signed_urls("b", ["k", "l"], 60) == {"l": f"{PROJECT}/storage/v1/object/sign/b/l?token=a.b.c"}


def test_without_keys_nothing_is_asked() -> None:
    client, script = storage()
    assert client.signed_urls("b", [], 60) == {}
    assert script.requests == []


def test_a_wish_to_wait_survives_supabases_own_client() -> None:
    busy = httpx.Response(429, headers={"retry-after": "3"}, json={"message": "x", "error": "y", "statusCode": "429"})
    client, _ = storage(busy)
    with pytest.raises(StorageError) as caught:
        client.bucket("b")
    assert (caught.value.trouble, caught.value.retry_after) == (Trouble.BUSY, 3.0)


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound, but not listening: the port is nobody's, and nobody else can get it.
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Storage(StorageSettings(url, KEY)) as client, pytest.raises(StorageError) as caught:
            client.bucket("b")
    assert caught.value.trouble is Trouble.UNREACHABLE
    assert caught.value.transient


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Storage(StorageSettings(url, KEY), timeout=0.05) as client, pytest.raises(StorageError) as caught:
            client.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={})
    assert caught.value.trouble is Trouble.UNREACHABLE


def test_a_connection_on_which_an_upload_was_refused_is_not_used_again() -> None:
    text = b'{"statusCode":"409","error":"Duplicate","message":"exists","code":"KeyAlreadyExists"}'
    refused = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    answers = [refused % (len(text), text), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]

    def serve() -> None:
        """Answer each connection once, before the body is read, and keep it."""
        with ExitStack() as kept:
            for answer in answers:
                connection = kept.enter_context(server.accept()[0])
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(1)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(10)
        serving = pool.submit(serve)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Storage(StorageSettings(url, KEY), timeout=10) as client:
            with pytest.raises(StorageError) as caught:
                client.put("b", "k", BytesBody(b"x" * 1000), content_type="text/plain", metadata={})
            assert client.read("b", "k") == b"x"
        serving.result()
    assert caught.value.trouble is Trouble.EXISTS


def test_a_closed_client_is_of_no_use() -> None:
    script = Script([])
    with script.storage() as client:
        pass
    with pytest.raises(RuntimeError):
        client.bucket("b")
