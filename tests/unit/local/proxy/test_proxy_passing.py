"""Without faults a proxy is not noticed: every form of request and answer goes through as it is."""

from __future__ import annotations

import random
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from local.proxy.server import RunningProxy, running_proxy
from local.storage.server import running_storage
from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.conformance.transfers import put, read, upload
from tests.unit.local.proxy.upstream import Upstream, bare, content, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = (0, 1, 65_536, 3_000_001)


def in_pieces(data: bytes) -> Iterator[bytes]:
    lengths, start = random.Random(5), 0
    while start < len(data):
        length = lengths.randint(1, 100_000)
        yield data[start : start + length]
        start += length


@pytest.mark.parametrize("size", SIZES)
def test_bodies_with_a_length_go_both_ways(client: httpx.Client, server: Upstream, size: int) -> None:
    data = content(size)
    assert client.post("/anything", content=data).content == b"done"
    assert client.get(f"/size/{size}").content == data
    assert server.heard[0].body == data


@pytest.mark.parametrize("size", SIZES)
def test_chunked_bodies_go_both_ways(client: httpx.Client, server: Upstream, size: int) -> None:
    data = content(size)
    answer = client.post("/echo", content=in_pieces(data))
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == data
    assert server.heard[0].headers["transfer-encoding"] == "chunked"


def test_one_connection_serves_one_exchange_after_the_other(
    client: httpx.Client, server: Upstream, proxy: RunningProxy
) -> None:
    for number in range(20):
        method = ("GET", "HEAD", "PATCH", "POST")[number % 4]
        answer = client.request(method, "/size/9" if method in {"GET", "HEAD"} else "/anything", content=b"12345")
        assert answer.status_code == (204 if method == "PATCH" else 200)
    assert len(server.clients) == 1
    assert proxy.rig.tally.shown()["connections"] == 1


def test_a_head_is_answered_with_a_length_and_no_body(client: httpx.Client) -> None:
    assert client.head("/size/1000").headers["content-length"] == "1000"
    assert client.get("/size/8").content == content(8)


def test_a_client_that_waits_is_told_to_continue_by_the_server(proxy: RunningProxy, server: Upstream) -> None:
    with bare(proxy.url) as client:
        client.ask("PATCH", "/anything", length=5, more="Expect: 100-continue\r\n")
        assert client.hear().startswith(b"HTTP/1.1 100 ")
        client.say(b"12345")
        assert client.hear().startswith(b"HTTP/1.1 204 ")
    assert server.heard[0].body == b"12345"


def test_an_answer_that_comes_before_the_body_is_passed_on_at_once(proxy: RunningProxy) -> None:
    with bare(proxy.url) as client:
        client.ask("POST", "/refuse", b"12345", length=1_000_000)
        assert client.hear().startswith(b"HTTP/1.1 413 ")


def test_who_is_refused_early_by_a_server_that_hangs_up_may_finish_sending(
    listener: socket.socket, before: RunningProxy
) -> None:
    with bare(before.url) as client:
        client.ask("POST", "/anything", content(5), length=3_000_000)
        answered(listener, b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        assert client.hear(b"no").startswith(b"HTTP/1.1 413 ")
        client.say(content(3_000_000)[5:])
        assert client.rest() == b""


def test_a_client_that_hangs_up_is_hung_up_on_at_the_server(proxy: RunningProxy, server: Upstream) -> None:
    with bare(proxy.url) as client:
        client.ask("POST", "/never", b"12345")
        until(lambda: bool(server.heard) and server.heard[0].ended, "the request")
    until(lambda: server.heard[0].hung_up, "the end of the connection")


def test_what_a_client_sent_before_it_broke_off_reaches_the_server(proxy: RunningProxy, server: Upstream) -> None:
    with bare(proxy.url) as client:
        client.ask("PATCH", "/anything", content(100_000), length=1_000_000)
    until(lambda: bool(server.heard) and server.heard[0].hung_up, "the end of the connection")
    assert server.heard[0].body == content(100_000)


def answered(listener: socket.socket, answer: bytes) -> None:
    """Take a connection and a request, answer, and hang up."""
    link, _ = listener.accept()
    link.recv(10_000)
    link.sendall(answer)
    link.close()


def test_a_server_that_hangs_up_is_hung_up_on_at_the_client(listener: socket.socket, before: RunningProxy) -> None:
    with bare(before.url) as client:
        client.ask("GET", "/anything")
        answered(listener, b"")
        assert client.rest() == b""


def test_an_answer_that_breaks_off_breaks_off_at_the_client(listener: socket.socket, before: RunningProxy) -> None:
    with bare(before.url) as client:
        client.ask("GET", "/anything")
        answered(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234")
        assert client.rest().endswith(b"\r\n\r\n1234")


def test_a_server_that_closed_an_idle_connection_is_asked_by_a_new_one(
    listener: socket.socket, before: RunningProxy
) -> None:
    with bare(before.url) as client, bare(before.url) as other:
        # While the other one is served, the proxy takes note of the closed connection.
        for each in (client, other, client):
            each.ask("GET", "/anything")
            answered(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert each.hear(b"\r\n\r\nok").startswith(b"HTTP/1.1 200 ")


def test_a_server_that_is_down_is_answered_for_by_the_gateways_page() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with running_proxy(f"http://127.0.0.1:{bound.getsockname()[1]}") as proxy:
            answer = httpx.post(f"{proxy.url}/storage/v1/object/b/k", content=content(100_000))
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "text/html"


def test_the_server_is_called_by_its_own_name_and_leads_back_through_the_proxy(
    client: httpx.Client, server: Upstream, behind: tuple[Upstream, str], proxy: RunningProxy
) -> None:
    answer = client.post("/away")
    assert server.heard[0].headers["host"] == behind[1].removeprefix("http://")
    assert answer.headers["location"] == f"{proxy.url}/elsewhere?x=1"


def test_what_is_no_http_is_hung_up_on(proxy: RunningProxy) -> None:
    with bare(proxy.url) as client:
        client.say(b"\x16\x03\x01 hello\r\n\r\n")
        client.end()
        assert client.rest() == b""


def test_storage_behind_it_takes_and_gives_objects_by_both_ways(tmp_path: Path) -> None:
    data = content(500_000)
    with running_storage(tmp_path) as server, running_proxy(server.url) as proxy:
        with Storage(StorageSettings(proxy.url, server.service_key)) as storage:
            storage.make_bucket("b")
            put(storage, "b", "small u'?.txt", data)
            upload(storage, "resumable", "b", "folder/large", data)
            assert read(storage, "b", "folder/large") == data
            assert [record.size for record in storage.walk("b", "")] == [len(data)] * 2
        tally = proxy.rig.tally
        assert tally.up("b", "small u'?.txt") == tally.up("b", "folder/large") == len(data)
        assert tally.down("b", "folder/large") == len(data)
        assert tally.down("b", "small u'?.txt") == 0
        assert tally.exchanges("PATCH", "/upload/resumable/") == 1


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x/path", "http://u:p@x", "http://x?y"])
def test_what_is_no_servers_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the address of a server"), running_proxy(url):
        pass


def test_a_client_that_comes_by_https_is_led_back_by_https(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    data = content(3_000_001)
    with running_storage(tmp_path) as server, running_proxy(server.url, tls=context) as proxy:
        assert proxy.url.startswith("https://")
        transport = httpx.HTTPTransport(verify=trusting)
        with Storage(StorageSettings(proxy.url, server.service_key), transport=transport) as storage:
            storage.make_bucket("bucket")
            upload(storage, "resumable", "bucket", "key", data)
            assert read(storage, "bucket", "key") == data
        assert proxy.rig.tally.up("bucket", "key") == len(data)
