"""Each fault does what it says to the exchanges that it is for, and nothing to the others."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from local.proxy.exchange import Exchange, Moment
from local.proxy.faults import Fault
from local.storage.faults import Answer
from tests.unit.local.proxy.upstream import Upstream, bare, content, until

if TYPE_CHECKING:
    import socket

    from local.proxy.server import RunningProxy

REST = "/storage/v1/object/b/k"
TUS = "/storage/v1/upload/resumable/x"
FOR_GOOD = 1e6
LARGE = 3_000_000


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("at", [0, 1, 70_000, LARGE])
def test_a_cut_lets_just_so_many_bytes_through_to_the_server(proxy: RunningProxy, server: Upstream, at: int) -> None:
    proxy.rig.faults.add(Fault(cut_after=at))
    with httpx.Client(base_url=proxy.url) as client, pytest.raises(httpx.TransportError):
        client.post("/never", content=content(LARGE))
    until(lambda: bool(server.heard) and server.heard[0].hung_up, "the end of the connection")
    assert server.heard[0].body == content(at)


@pytest.mark.parametrize("at", [0, 1, 70_000, LARGE])
def test_a_cut_lets_just_so_many_bytes_of_the_answer_through(proxy: RunningProxy, at: int) -> None:
    proxy.rig.faults.add(Fault(cut_answer_after=at))
    with bare(proxy.url) as client:
        client.ask("GET", f"/size/{LARGE}")
        assert split(client.rest())[1] == content(at)


@pytest.mark.parametrize("path", ["/anything", f"/size/{LARGE}"])
def test_a_reset_comes_before_the_server_hears_anything(proxy: RunningProxy, server: Upstream, path: str) -> None:
    proxy.rig.faults.add(Fault(reset=True))
    with bare(proxy.url) as client:
        client.ask("GET", path)
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert not server.heard


def test_a_cut_can_be_a_reset(proxy: RunningProxy, server: Upstream) -> None:
    proxy.rig.faults.add(Fault(cut_answer_after=70_000, reset=True))
    with bare(proxy.url) as client:
        client.ask("GET", f"/size/{LARGE}")
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert server.heard


def test_a_black_hole_takes_everything_and_says_nothing(proxy: RunningProxy, server: Upstream) -> None:
    proxy.rig.faults.add(Fault(method="POST", black_hole=True))
    with bare(proxy.url) as client, bare(proxy.url) as other:
        client.ask("POST", "/anything", content(LARGE))
        for _ in range(3):
            other.ask("GET", "/anything")
            other.hear(b"done")
        assert not client.has_news()
        client.end()
        assert client.rest() == b""
    assert {heard.method for heard in server.heard} == {"GET"}


@pytest.mark.parametrize("at", [0, 70_000])
def test_a_stall_holds_a_body_until_it_is_cleared(proxy: RunningProxy, server: Upstream, at: int) -> None:
    proxy.rig.faults.add(Fault(stall=FOR_GOOD, stall_after=at))
    with bare(proxy.url) as client:
        client.ask("POST", "/anything", content(100_000))
        until(lambda: bool(server.heard) and len(server.heard[0].body) == at, "what comes before the stall")
        proxy.rig.faults.clear()
        assert client.hear(b"done")
    assert server.heard[0].body == content(100_000)


def test_a_stall_holds_an_answer_until_it_is_cleared(proxy: RunningProxy) -> None:
    proxy.rig.faults.add(Fault(stall=FOR_GOOD, stall_answer_after=16))
    with bare(proxy.url) as client:
        client.ask("GET", "/size/100")
        client.hear(content(16))
        proxy.rig.faults.clear()
        client.hear(content(100)[16:])


def test_a_stall_for_a_time_only_takes_time(proxy: RunningProxy, client: httpx.Client, server: Upstream) -> None:
    proxy.rig.faults.add(Fault(stall=0.05, stall_after=8))
    assert client.post("/anything", content=content(100)).content == b"done"
    assert server.heard[0].body == content(100)


def test_who_gives_up_on_a_stalled_answer_is_hung_up_on_at_the_server(
    listener: socket.socket, before: RunningProxy
) -> None:
    before.rig.faults.add(Fault(stall=FOR_GOOD, stall_answer_after=0))
    with bare(before.url) as client:
        client.ask("GET", "/anything")
        link, _ = listener.accept()
        with link:
            link.recv(10_000)
            link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            client.hear()
            client.close()
            assert link.recv(10_000) == b""


def test_what_is_slow_comes_through_when_it_is_cleared(proxy: RunningProxy, server: Upstream) -> None:
    number = proxy.rig.faults.add(Fault(latency=FOR_GOOD))
    with bare(proxy.url) as client:
        client.ask("GET", "/anything")
        until(lambda: proxy.rig.faults.hits(number) == 1, "the request")
        assert not server.heard
        proxy.rig.faults.clear(number)
        client.hear(b"done")


def test_a_lost_answer_is_to_a_request_that_was_done(proxy: RunningProxy, server: Upstream) -> None:
    proxy.rig.faults.add(Fault(lose_answer=True))
    with bare(proxy.url) as client:
        client.ask("POST", "/anything", content(LARGE))
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert server.heard[0].ended
    assert server.heard[0].body == content(LARGE)


@pytest.mark.parametrize(
    ("path", "status", "wire", "kind", "text"),
    [
        (REST, 409, 400, "application/json; charset=utf-8", "KeyAlreadyExists"),
        (REST, 410, 400, "application/json; charset=utf-8", '"statusCode": "410"'),
        (REST, 423, 400, "application/json; charset=utf-8", "ResourceLocked"),
        (REST, 429, 429, "application/json; charset=utf-8", "SlowDown"),
        (REST, 500, 500, "application/json; charset=utf-8", "Internal Server Error"),
        (REST, 544, 544, "application/json; charset=utf-8", "DatabaseTimeout"),
        (TUS, 409, 409, "text/plain;charset=UTF-8", "Upload-Offset conflict"),
        (TUS, 410, 410, "text/plain;charset=UTF-8", "no longer exists"),
        (TUS, 423, 423, "text/plain;charset=UTF-8", "Locked"),
        (TUS, 429, 429, "text/plain;charset=UTF-8", "Too Many Requests"),
        (TUS, 503, 503, "text/plain;charset=UTF-8", "acquiring lock timeout"),
        (TUS, 502, 502, "text/html", "<h1>502 Bad Gateway</h1>"),
        (REST, 504, 504, "text/html", "<h1>504 Gateway Timeout</h1>"),
    ],
)
def test_a_refusal_has_the_form_that_storage_gives_it(
    proxy: RunningProxy, client: httpx.Client, server: Upstream, path: str, status: int, wire: int, kind: str, text: str
) -> None:
    proxy.rig.faults.add(Fault(answer=status, retry_after=7))
    answer = client.post(path, content=content(LARGE))
    assert (answer.status_code, answer.headers["content-type"], answer.headers["retry-after"]) == (wire, kind, "7")
    assert text in answer.text
    assert client.head(path).headers["content-length"] == str(len(answer.content))
    assert not server.heard


def test_an_answer_of_ones_own_is_given_as_it_is(proxy: RunningProxy, client: httpx.Client) -> None:
    proxy.rig.faults.add(Fault(answer=Answer(status=299, body="mine", content_type="text/x")))
    assert client.get("/anything").text == "mine"


def test_only_the_chosen_exchanges_are_hit(proxy: RunningProxy, client: httpx.Client) -> None:
    proxy.rig.faults.add(Fault(method="POST", path="^/any", skip=1, count=2, answer=500))
    asked = [("POST", "/other"), ("GET", "/anything"), *[("POST", "/anything")] * 5]
    assert [client.request(*each).status_code for each in asked] == [200, 200, 200, 500, 500, 200, 200]


def test_chance_is_the_same_in_every_run(proxy: RunningProxy, client: httpx.Client) -> None:
    runs = []
    for _ in range(2):
        number = proxy.rig.faults.add(Fault(probability=0.5, seed=4, answer=500))
        runs.append([client.get("/anything").status_code for _ in range(16)])
        proxy.rig.faults.clear(number)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


class Watcher:
    """Looks on, and cuts at one moment."""

    def __init__(self, cut: Moment | None) -> None:
        self.cut = cut
        self.seen: list[tuple[Moment, int]] = []

    def __call__(self, moment: Moment, exchange: Exchange) -> bool:
        self.seen.append((moment, exchange.up))
        return moment is self.cut and (moment is not Moment.SENDING or exchange.up >= (exchange.length or 0) // 2)


def test_who_looks_on_sees_every_moment(proxy: RunningProxy, client: httpx.Client) -> None:
    watcher = Watcher(None)
    proxy.rig.hook = watcher
    client.post("/anything", content=content(LARGE))
    moments = [moment for moment, _ in itertools.groupby(moment for moment, _ in watcher.seen)]
    assert moments == [Moment.ASKED, Moment.SENDING, Moment.ANSWERED]
    assert watcher.seen[-1][1] == LARGE


@pytest.mark.parametrize("moment", Moment)
def test_who_looks_on_may_cut_at_every_moment(proxy: RunningProxy, server: Upstream, moment: Moment) -> None:
    proxy.rig.hook = Watcher(moment)
    with httpx.Client(base_url=proxy.url) as client, pytest.raises(httpx.TransportError):
        client.post("/anything", content=content(LARGE))
    proxy.rig.hook = None
    if moment is Moment.ASKED:
        assert not server.heard
        return
    until(lambda: bool(server.heard) and (server.heard[0].hung_up or server.heard[0].ended), "the end of the request")
    arrived = len(server.heard[0].body)
    assert arrived == LARGE if moment is Moment.ANSWERED else LARGE // 2 <= arrived < LARGE


def test_it_is_steered_from_outside_while_it_runs(proxy: RunningProxy, client: httpx.Client) -> None:
    made = client.post("/_proxy/faults", content=json.dumps({"method": "GET", "answer": 429, "retry_after": 1}))
    assert made.status_code == 201
    assert client.get("/anything").status_code == 429
    [shown] = client.get("/_proxy/faults").json()
    assert (shown["hits"], shown["answer"]) == (1, 429)
    assert client.delete(f"/_proxy/faults/{made.json()['id']}").json() == []
    assert client.get("/anything").status_code == 200
    assert client.get("/_proxy/tally").json()["exchanges"] == {"GET": 2}
    assert client.delete("/_proxy/tally").json()["exchanges"] == {}
    client.put("/_proxy/line", json={"round_trip": 0.001, "bandwidth": 1_000_000}).raise_for_status()
    assert (proxy.rig.line.round_trip, proxy.rig.line.bandwidth) == (0.001, 1_000_000)
    wrong = client.post("/_proxy/faults", json={"colour": "red"})
    assert wrong.status_code == 400
    assert "colour" in wrong.json()["message"]
    assert client.get("/_proxy/nothing").status_code == 404
