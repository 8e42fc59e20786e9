"""The line's pace and its length, by a clock that a test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from local.proxy.exchange import target_of
from local.proxy.faults import Fault
from local.proxy.gate import Gate, Mark
from local.proxy.line import Line, Pacer
from local.proxy.rig import Rig
from local.proxy.server import RunningProxy, running_proxy
from local.storage.tus.identity import UploadId
from tests.unit.local.proxy.upstream import Upstream, content

if TYPE_CHECKING:
    from collections.abc import Iterable


class Clock:
    """Time that only sleeping moves; each sleep lasts ``late`` seconds too long."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._late = late

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self._late


def seconds_for(pacer: Pacer, clock: Clock, counts: Iterable[int]) -> float:
    async def pass_all() -> None:
        for count in counts:
            await pacer(count)

    begun = clock.now
    asyncio.run(pass_all())
    return clock.now - begun


@pytest.mark.parametrize("late", [0.0, 0.005])
def test_the_rate_is_kept_though_timers_are_late(late: float) -> None:
    clock = Clock(late)
    pacer = Pacer(25_000_000, clock=clock, sleep=clock.sleep)
    assert seconds_for(pacer, clock, [250_000] * 400) == pytest.approx(4.0, abs=0.05)


def test_all_connections_share_the_rate() -> None:
    async def both() -> None:
        await asyncio.gather(pacer(1000), pacer(1000), pacer(1000))

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    pacer = Pacer(1000, clock=lambda: 50.0, sleep=sleep)
    asyncio.run(both())
    assert waits == pytest.approx([0.98, 1.98, 2.98])


def test_no_rate_is_no_wait() -> None:
    clock = Clock()
    assert seconds_for(Pacer(None, clock=clock, sleep=clock.sleep), clock, [1 << 40]) == 0.0


def test_a_slow_line_trickles_and_never_stands_still_for_long() -> None:
    clock = Clock()
    pacer = Pacer(10_000, clock=clock, sleep=clock.sleep)
    passed: list[bytes] = []

    async def pass_on(portion: bytes) -> None:
        passed.append(portion)

    asyncio.run(Gate([], [pacer], pass_on)(content(50_000)))
    assert b"".join(passed) == content(50_000)
    assert max(clock.slept) <= 0.1
    assert sum(clock.slept) == pytest.approx(5.0, abs=0.1)


def test_marks_are_met_at_their_byte_in_whatever_blocks_the_body_comes() -> None:
    story: list[object] = []

    async def pass_on(portion: bytes) -> None:
        story.append(portion)

    def note(at: int) -> Mark:
        async def act() -> None:
            story.append(at)

        return Mark(at, act)

    async def pass_all() -> None:
        gate = Gate([note(5), note(0), note(9), note(5)], [Pacer()], pass_on)
        await gate.open()
        for block in (b"abc", b"", b"defgh", b"i"):
            await gate(block)

    asyncio.run(pass_all())
    assert story == [0, b"abc", b"de", 5, 5, b"fgh", b"i", 9]


def test_a_round_trip_is_paid_by_each_exchange_and_twice_by_the_first(behind: tuple[Upstream, str]) -> None:
    clock = Clock()
    rig = Rig(Line(0.08, sleep=clock.sleep))
    with running_proxy(behind[1], rig) as proxy, httpx.Client(base_url=proxy.url) as client:
        client.get("/anything")
        assert sum(clock.slept) == pytest.approx(0.16)
        client.get("/anything")
        assert sum(clock.slept) == pytest.approx(0.24)


def test_a_fault_may_slow_one_exchange_down(proxy: RunningProxy, client: httpx.Client) -> None:
    proxy.rig.faults.add(Fault(path="/echo", bandwidth=1_000_000))
    assert client.post("/echo", content=content(60_000)).content == content(60_000)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/storage/v1/object/b/a/k.txt", "b/a/k.txt"),
        ("/storage/v1/object/authenticated/b/k", "b/k"),
        ("/storage/v1/object/public/b/k", "b/k"),
        ("/storage/v1/object/sign/b/k", "b/k"),
        ("/storage/v1/upload/resumable/" + UploadId("b", "a/k", "v").segment(), "b/a/k"),
        ("/storage/v1/upload/resumable", None),
        ("/storage/v1/upload/resumable/!", None),
        ("/storage/v1/object/info/b/k", None),
        ("/storage/v1/object/list/b", None),
        ("/storage/v1/object/list-v2/b", None),
        ("/storage/v1/object/move", None),
        ("/storage/v1/object/b", None),
        ("/storage/v1/bucket/b", None),
    ],
)
def test_a_path_tells_which_object_is_meant(path: str, target: str | None) -> None:
    assert target_of(path) == target
