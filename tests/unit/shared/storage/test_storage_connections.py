"""Objects go over connections that are kept, given up when they are dead, and never trusted with half an answer."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from shared.settings import StorageSettings
from shared.storage.client import Storage
from shared.storage.connections import Connections
from shared.storage.errors import StorageError, Trouble
from tests.unit.shared.storage.wired import Said, Server, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from socket import socket

KEY = "service-role-key"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = {
    "by length": said(b"abc", length=9, hangs_up=True),
    "in a chunk": Said(CHUNKED + b"9\r\nabc", hangs_up=True),
    "in its head": Said(b"HTTP/1.1 200 OK\r\n", hangs_up=True),
    "somewhere": Said(b"HTTP/1.1 200 OK\r\n\r\nabc", hangs_up=True),
    "at once": Said(b"", hangs_up=True),
}

Fetched = Callable[[Connections, Server], bytes]
LENGTH = {"Content-Length": "6"}


@contextmanager
def connected(server: Server, silence: float = 60, idle: float = 60) -> Iterator[Connections]:
    context = ssl.create_default_context()
    with closing(Connections(context, most=4, connecting=60, silence=silence, idle=idle)) as connections:
        yield connections


def read(connections: Connections, server: Server) -> bytes:
    return connections.read(f"{server.url}/a", {}, 100).content


def streamed(connections: Connections, server: Server) -> bytes:
    with closing(connections.stream(f"{server.url}/a", {})) as response:
        return b"".join(response.iter_raw())


@pytest.fixture(params=[read, streamed])
def fetched(request: pytest.FixtureRequest) -> Fetched:
    found: Fetched = request.param
    return found


def test_one_connection_serves_one_after_the_other(fetched: Fetched) -> None:
    chunked = Said(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    with Server(said(b"one"), chunked, said(b""), said(b"four")) as server, connected(server) as connections:
        assert [fetched(connections, server) for _ in range(4)] == [b"one", b"abcde", b"", b"four"]
        assert server.connections == 1
        assert server.requests[0].startswith("GET /a HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_half_an_answer_is_an_error_and_its_connection_is_not_used_again(fetched: Fetched, cut: Said) -> None:
    with Server(cut, said(b"whole")) as server, connected(server) as connections:
        with pytest.raises(httpx.TransportError):
            fetched(connections, server)
        assert fetched(connections, server) == b"whole"
        assert server.connections == 2


def test_a_connection_that_the_server_has_closed_is_not_used(fetched: Fetched) -> None:
    with Server(said(b"one", hangs_up=True), said(b"two")) as server, connected(server) as connections:
        assert fetched(connections, server) == b"one"
        [[(kept, _)]] = connections._idle.values()
        assert kept.sock.recv(1) == b""
        assert fetched(connections, server) == b"two"


def test_a_connection_that_was_idle_for_long_is_not_used(fetched: Fetched) -> None:
    with Server(said(b"one"), said(b"two")) as server, connected(server, idle=-1) as connections:
        assert [fetched(connections, server) for _ in range(2)] == [b"one", b"two"]
        assert server.connections == 2


def test_what_was_not_read_to_its_end_leaves_nothing_for_the_next(fetched: Fetched) -> None:
    with Server(said(b"abc"), said(b"abc"), said(b"next")) as server, connected(server) as connections:
        connections.stream(f"{server.url}/a", {}).close()
        assert connections.read(f"{server.url}/a", {}, 2).content == b"ab"
        assert fetched(connections, server) == b"next"
        assert server.connections == 3


def test_a_server_that_falls_silent(fetched: Fetched) -> None:
    with Server(Said(b"")) as server, connected(server, silence=0.05) as connections, pytest.raises(httpx.ReadTimeout):
        fetched(connections, server)


def test_a_server_that_is_not_there(fetched: Fetched) -> None:
    with Server() as server:
        pass
    with connected(server) as connections, pytest.raises(httpx.ConnectError):
        fetched(connections, server)


def test_each_request_goes_to_the_server_that_its_address_names(fetched: Fetched) -> None:
    with Server(said(b"a"), said(b"a")) as one, Server(said(b"b"), said(b"b")) as other, connected(one) as connections:
        assert [fetched(connections, server) for server in (one, other, one, other)] == [b"a", b"b", b"a", b"b"]
        assert (one.connections, other.connections) == (1, 1)
        assert {request.partition("\r\n")[0] for request in other.requests} == {"GET /a HTTP/1.1"}


@pytest.mark.parametrize(
    ("project", "server"),
    [
        ("https://abc.supabase.co", ("abc.storage.supabase.co", 443)),
        ("http://storage.test:8000", ("storage.test", 8000)),
        ("http://[2001:db8::7]", ("2001:db8::7", 80)),
    ],
)
def test_large_files_are_taken_to_where_their_uploads_are_made(
    project: str, server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("http.client.socket.create_connection", refuse)
    with Storage(StorageSettings(project, KEY)) as client, pytest.raises(StorageError):
        client.create_upload("b", "k", 1, content_type="image/png", metadata={})
    assert asked == [server]


def test_what_is_said_before_an_answer_is_not_taken_for_it(fetched: Fetched) -> None:
    hints = Said(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + said(b"late").content)
    with Server(hints, said(b"next")) as server, connected(server) as connections:
        with pytest.raises(httpx.RemoteProtocolError):
            fetched(connections, server)
        assert fetched(connections, server) == b"next"
        assert server.connections == 2


def test_an_answer_with_a_header_that_is_not_ascii_takes_no_connection_away(fetched: Fetched) -> None:
    odd = Said("HTTP/1.1 200 OK\r\nX-Name: Zoë\r\nContent-Length: 1\r\n\r\nx".encode())
    with Server(odd, odd) as server, connected(server) as connections:
        assert [fetched(connections, server) for _ in range(2)] == [b"x", b"x"]
        assert server.connections == 1


def test_an_object_is_read_whole_whichever_success_it_comes_with() -> None:
    content = bytes((1 << 20) + 1)
    answer = said(content, status="203 Non-Authoritative Information")
    with Server(answer) as server, Storage(StorageSettings(server.url, KEY)) as client:
        assert client.read("b", "k") == content


def test_of_a_refusal_without_an_end_no_more_is_held_in_memory_than_its_beginning() -> None:
    endless = said(b"x" * (2 << 20), status="500 Internal Server Error", length=1 << 40, hangs_up=True)
    with Server(endless, endless) as server, Storage(StorageSettings(server.url, KEY)) as client:
        with pytest.raises(StorageError) as read:
            client.read("b", "k")
        with pytest.raises(StorageError) as opened, client.open("b", "k"):
            pass
    assert (read.value.status, opened.value.status) == (500, 500)


def test_what_speaks_another_protocol_is_quoted_in_few_words() -> None:
    other = Said(b"SSH-2.0" + bytes(b"z" * 60_000) + b"\r\n", hangs_up=True)
    with Server(other) as server, Storage(StorageSettings(server.url, KEY)) as client:
        with pytest.raises(StorageError) as caught:
            client.read("b", "k")
        assert "SSH-2.0" in caught.value.sentence
        assert len(caught.value.sentence) < 400


def test_a_host_that_no_name_server_can_know() -> None:
    with Storage(StorageSettings("http://a..b", KEY)) as client, pytest.raises(StorageError) as caught:
        client.read("b", "k")
    assert caught.value.trouble is Trouble.UNREACHABLE


def test_a_body_is_sent_block_by_block_and_the_connection_used_again() -> None:
    with Server(said(b"one"), said(b"two")) as server, connected(server) as connections:
        for answer in (b"one", b"two"):
            response = connections.send("POST", f"{server.url}/a?b", LENGTH, iter((b"abc", b"def")))
            assert (response.status_code, response.content) == (200, answer)
        assert server.connections == 1
        assert server.bodies == [b"abcdef", b"abcdef"]
        assert server.requests[0].startswith("POST /a?b HTTP/1.1\r\n")
        assert "\r\nUser-Agent: ferry\r\nContent-Length: 6\r\n" in server.requests[0]


def test_an_answer_to_a_question_without_a_body() -> None:
    head = Said(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\nUpload-Offset: 5\r\n\r\n")
    nothing = Said(b"HTTP/1.1 204 No Content\r\nUpload-Offset: 6\r\n\r\n")
    with Server(head, nothing, said(b"x")) as server, connected(server) as connections:
        asked = [connections.send(method, f"{server.url}/a", {}) for method in ("HEAD", "DELETE", "GET")]
        assert [each.headers.get("upload-offset") for each in asked] == ["5", "6", None]
        assert [each.content for each in asked] == [b"", b"", b"x"]
        assert server.connections == 1


def test_after_a_refusal_of_a_body_its_connection_is_not_used_again() -> None:
    refusal = said(b"too large", status="413 Payload Too Large")
    with Server(refusal, said(b"x")) as server, connected(server) as connections:
        refused = connections.send("POST", f"{server.url}/a", LENGTH, iter((b"abcdef",)))
        assert (refused.status_code, refused.content) == (413, b"too large")
        assert connections.read(f"{server.url}/a", {}, 9).content == b"x"
        assert server.connections == 2


def test_a_server_that_takes_no_more_may_have_said_why() -> None:
    """It answers the head alone and hangs up; what is sent then breaks, and its words are there to be read."""
    refusal = Said(said(b"too large", status="413 Payload Too Large").content, hangs_up=True, reads_body=False)
    given: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(1 << 20):
            given.append(number)
            yield bytes(1 << 20)

    with Server(refusal) as server, connected(server) as connections:
        refused = connections.send("POST", f"{server.url}/a", {"Content-Length": str(1 << 40)}, blocks())
        assert (refused.status_code, refused.content) == (413, b"too large")
        assert len(given) < 1 << 20


@pytest.mark.parametrize(
    "trouble", [OSError("the disk is broken"), StorageError(Trouble.CHANGED, "Sending", "it grew")]
)
def test_what_goes_wrong_with_the_body_is_no_trouble_of_the_line(trouble: Exception) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"abc"
        raise trouble

    with Server(said(b"x"), said(b"x")) as server, connected(server) as connections:
        with pytest.raises(type(trouble)) as caught:
            connections.send("POST", f"{server.url}/a", LENGTH, blocks())
        assert caught.value is trouble
        assert connections.read(f"{server.url}/a", {}, 9).content == b"x"
        assert server.connections == 2


def test_closing_ends_what_is_being_read() -> None:
    with Server(said(b"abc", length=9)) as server, connected(server) as connections:
        response = connections.stream(f"{server.url}/a", {})
        blocks = response.iter_raw()
        assert next(blocks) == b"abc"
        connections.close()
        with pytest.raises(httpx.ReadError):
            next(blocks)


def test_what_is_being_read_over_https_when_all_is_closed_is_decrypted_to_its_end() -> None:
    authority, theirs = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    content = bytes(1 << 20)
    with Server(said(content), context=theirs) as server:
        connections = Connections(ours, most=1, connecting=60, silence=60, idle=60)
        blocks = connections.stream(f"{server.url}/a", {}).iter_raw()
        got = [next(blocks)]
        [line] = (connection.sock for connection in connections._busy)
        _wait_for_more(line)
        connections.close()
        with suppress(httpx.ReadError):
            got += blocks
    assert not b"".join(got).strip(b"\0")


def test_nothing_is_asked_once_all_is_closed(fetched: Fetched) -> None:
    with Server(said(b"x")) as server, connected(server) as connections:
        connections.close()
        with pytest.raises(httpx.ConnectError):
            fetched(connections, server)
        assert not server.requests


def _wait_for_more(line: socket) -> None:
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.poll()


def test_a_refusal_is_read_to_its_end_however_little_was_wanted() -> None:
    words = b'{"statusCode":"404","error":"not_found","message":"Object not found","code":"NoSuchKey"}'
    denied = b'{"statusCode":"403","error":"Unauthorized","message":"no service-role-key","code":"AccessDenied"}'
    refusals = (said(words, status="400 Bad Request"), said(denied, status="400 Bad Request"))
    with Server(*refusals) as server, Storage(StorageSettings(server.url, KEY)) as client:
        assert client.read("b", "k", limit=1) is None
        with pytest.raises(StorageError) as caught:
            client.read("b", "k", limit=1)
        assert caught.value.trouble is Trouble.DENIED
        assert KEY not in str(caught.value)
        assert f"Authorization: Bearer {KEY}\r\napikey: {KEY}\r\n" in server.requests[0]


def test_over_https_the_server_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with Server(said(b"x"), context=context) as server:
        with Storage(StorageSettings(server.url, KEY)) as client, pytest.raises(StorageError) as caught:
            client.read("b", "k")
        assert caught.value.trouble is Trouble.UNREACHABLE
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with Storage(StorageSettings(server.url, KEY)) as client:
            assert client.read("b", "k") == b"x"


def test_where_the_environment_names_a_proxy_downloads_go_through_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(said(b"x"), said(b"y")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with Storage(StorageSettings("http://storage.test", KEY)) as client:
            assert client.read("b", "k") == b"x"
        assert proxy.requests[0].startswith("GET http://storage.test/storage/v1/object/authenticated/b/k HTTP/1.1\r\n")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Storage(StorageSettings(proxy.url, KEY)) as client:
            assert client.read("b", "k") == b"y"
        assert proxy.requests[1].startswith("GET /storage/v1/")


def test_a_proxy_that_is_named_for_large_files_alone_is_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(said(b"no", status="403 Forbidden")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "abc.supabase.co")
        with Storage(StorageSettings("https://abc.supabase.co", KEY)) as client, pytest.raises(StorageError):
            client.create_upload("b", "k", 1, content_type="image/png", metadata={})
        assert proxy.requests[0].startswith("CONNECT abc.storage.supabase.co:443 HTTP/1.1\r\n")
