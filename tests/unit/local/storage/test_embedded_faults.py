from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from local.storage.faults import Answer, Fault, Faults
from tests.unit.local.storage.resumables import announce, append, offset

if TYPE_CHECKING:
    from local.storage.server import RunningStorage


def test_which_requests_are_hit() -> None:
    faults = Faults()
    faults.add(Fault(method="PATCH", path="/x$", skip=1, count=2))
    asked = ["/x", "/x", "/y", "/x", "/x"]
    assert [bool(faults.hitting("PATCH", path)) for path in asked] == [False, True, False, True, False]
    assert not faults.hitting("GET", "/x")


def test_chance_is_repeatable() -> None:
    def draws(seed: int) -> list[bool]:
        faults = Faults()
        faults.add(Fault(probability=0.5, seed=seed))
        return [bool(faults.hitting("GET", "/")) for _ in range(50)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert 0 < sum(draws(1)) < 50


def test_another_answer(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    server.faults.add(Fault(answer=Answer(status=429, body="slow", content_type="text/plain", retry_after=7), count=1))
    response = api.get(f"/bucket/{bucket}")
    assert (response.status_code, response.text, response.headers["retry-after"]) == (429, "slow", "7")
    assert api.get(f"/bucket/{bucket}").status_code == 200


def test_a_server_that_is_down_and_comes_back(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    number = server.faults.down()
    response = api.get(f"/bucket/{bucket}")
    assert (response.status_code, response.headers["content-type"]) == (502, "text/html")
    server.faults.clear(number)
    assert api.get(f"/bucket/{bucket}").status_code == 200


def test_a_reset_before_anything_is_done(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    server.faults.add(Fault(method="POST", reset=True))
    with pytest.raises(httpx.TransportError):
        api.post(f"/object/{bucket}/a", content=b"x")
    assert api.get(f"/object/{bucket}/a").json()["code"] == "NoSuchKey"


def test_an_answer_that_gets_lost(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    server.faults.add(Fault(method="POST", lose_answer=True))
    with pytest.raises(httpx.TransportError):
        api.post(f"/object/{bucket}/a", content=b"x")
    assert api.get(f"/object/{bucket}/a").content == b"x"


def test_a_cut_in_mid_body_keeps_what_has_come(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    url = announce(api, bucket, "a", 300_000)
    server.faults.add(Fault(method="PATCH", cut_after=100_001, count=1))
    with pytest.raises(httpx.TransportError):
        append(api, url, 0, b"x" * 300_000)
    assert offset(api, url) == 100_001
    append(api, url, 100_001, b"y" * 199_999)
    assert api.get(f"/object/{bucket}/a").content == b"x" * 100_001 + b"y" * 199_999


def test_a_cut_standard_upload_stores_nothing(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    api.post(f"/object/{bucket}/a", content=b"old")
    server.faults.add(Fault(method="PUT", cut_after=100_001, count=1))
    with pytest.raises(httpx.TransportError):
        api.put(f"/object/{bucket}/a", content=b"x" * 300_000)
    assert api.get(f"/object/{bucket}/a").content == b"old"


def test_a_cut_answer(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    api.post(f"/object/{bucket}/a", content=b"x" * 1_000_000)
    server.faults.add(Fault(method="GET", path="/object/", cut_answer_after=300_000))
    with pytest.raises(httpx.TransportError):
        api.get(f"/object/{bucket}/a")


@pytest.mark.parametrize("index", [0, 150_000, 299_999])
def test_a_flipped_bit(api: httpx.Client, bucket: str, server: RunningStorage, index: int) -> None:
    server.faults.add(Fault(method="POST", path="/object/", corrupt=index, stall=0.0, stall_after=1000))
    api.post(f"/object/{bucket}/a", content=b"x" * 300_000)
    expected = b"x" * index + b"y" + b"x" * (299_999 - index)
    assert api.get(f"/object/{bucket}/a").content == expected


def test_a_stall_ends_when_it_is_cleared(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    number = server.faults.add(Fault(method="PUT", stall=600.0, stall_after=10))
    done = threading.Event()

    def put() -> None:
        api.put(f"/object/{bucket}/a", content=b"x" * 1000)
        done.set()

    sender = threading.Thread(target=put)
    sender.start()
    deadline = time.monotonic() + 30
    while not server.faults.hits(number):
        assert time.monotonic() < deadline
    assert not done.is_set()
    server.faults.clear()
    sender.join(30)
    assert api.get(f"/object/{bucket}/a").content == b"x" * 1000


def test_switching_from_outside(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    made = httpx.post(f"{server.url}/_faults", json={"path": "/bucket/", "answer": {"status": 503}})
    assert made.status_code == 201
    assert api.get(f"/bucket/{bucket}").status_code == 503
    shown = httpx.get(f"{server.url}/_faults").json()
    assert [(fault["id"], fault["hits"]) for fault in shown] == [(made.json()["id"], 1)]
    httpx.delete(f"{server.url}/_faults/{made.json()['id']}")
    assert api.get(f"/bucket/{bucket}").status_code == 200
    httpx.post(f"{server.url}/_faults/down")
    assert api.get(f"/bucket/{bucket}").status_code == 502
    httpx.delete(f"{server.url}/_faults")
    assert api.get(f"/bucket/{bucket}").status_code == 200


@pytest.mark.parametrize("body", ["{}x", '{"nonsense": 1}', '{"path": "("}'])
def test_what_is_no_fault_is_said(server: RunningStorage, body: str) -> None:
    response = httpx.post(f"{server.url}/_faults", content=body)
    assert response.status_code == 400
    assert response.text.startswith("Not a fault: ")


def test_counters(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    url = announce(api, bucket, "a", 10)
    append(api, url, 0, b"01234")
    append(api, url, 5, b"56789")
    api.get(f"/object/{bucket}/a")
    assert server.stats.requests("PATCH", "upload/resumable") == 2
    assert server.stats.received_for(bucket, "a") == 10
    shown = httpx.get(f"{server.url}/_stats").json()
    assert shown["requests"]["GET object"] == 1
    assert shown["sent"]["object"] == 10
    assert shown["most_in_flight"] == 1
    httpx.delete(f"{server.url}/_stats")
    assert server.stats.received_for(bucket, "a") == 0
