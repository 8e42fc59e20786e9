"""One exchange on its way through the proxy, to the server and back, and what its faults do to it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import h11

from local.proxy.answers import answer_of
from local.proxy.exchange import Moment
from local.proxy.gate import CutError, Gate, Mark
from local.proxy.heads import for_client, for_server, value_of
from local.proxy.line import Pacer
from local.storage.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.proxy.exchange import Exchange
    from local.proxy.faults import ActiveFault
    from local.proxy.peer import Peer
    from local.proxy.rig import Rig


class Passage:
    """One exchange of ``client``, begun with ``head``. Its methods raise CutError where the connection is to be cut."""

    def __init__(
        self, exchange: Exchange, head: h11.Request, client: Peer, faults: Sequence[ActiveFault], rig: Rig
    ) -> None:
        self._exchange = exchange
        self._head = head
        self._client = client
        self._faults = faults
        self._rig = rig
        self._asked = asyncio.Event()
        self._server_gone = False

    async def stopped(self) -> bool:
        """Do what the faults do before the server hears anything; return whether it is to hear nothing at all."""
        for active in self._faults:
            fault = active.fault
            if fault.latency:
                await active.pause(fault.latency)
            if fault.reset and fault.cut_after is None and fault.cut_answer_after is None:
                raise CutError(reset=True)
            if fault.black_hole:
                await self._swallow()
                await self._client.until_hung_up()
            if fault.answer is not None:
                await self.answered(self._canned(fault.answer, fault.retry_after))
                return True
        return False

    async def answered(self, answer: Answer) -> None:
        """Take the request to its end, and answer without a server."""
        await self._swallow()
        self._exchange.status = answer.status
        body = answer.body.encode()
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(body)))]
        if answer.retry_after is not None:
            headers.append(("Retry-After", str(answer.retry_after)))
        head = h11.Response(status_code=answer.status, headers=headers)
        shown = h11.Data(data=b"" if self._exchange.method == "HEAD" else body)
        await self._rig.line.travel(0.5)
        await self._client.send(head, shown, h11.EndOfMessage())

    async def through(self, server: Peer, authority: str) -> None:
        """Pass the request on to ``server``, which is called ``authority``, and its answer back.

        Raises ConnectionError or h11.ProtocolError where one of the two is gone.
        """
        up = asyncio.ensure_future(self._up(server, authority))
        down = asyncio.ensure_future(self._down(server, authority))
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    def _canned(self, answer: Answer | int, retry_after: int | None) -> Answer:
        return answer if isinstance(answer, Answer) else answer_of(answer, self._exchange.path, retry_after)

    async def _swallow(self) -> None:
        while isinstance(await self._client.next_event(), h11.Data):
            continue

    # Up

    async def _up(self, server: Peer, authority: str) -> None:
        """Pass the request on, then watch the client until it hangs up: raises HungUpError, and never returns."""
        gate = Gate(self._marks_up(), self._paces(self._rig.line.up), partial(self._send_up, server))
        await self._hand_over(server, for_server(self._head, authority))
        await gate.open()
        while isinstance(event := await self._client.next_event(), h11.Data):
            await gate(bytes(event.data))
        if isinstance(event, h11.EndOfMessage):
            await self._hand_over(server, event)
        self._asked.set()
        await self._client.until_hung_up()

    async def _send_up(self, server: Peer, portion: bytes) -> None:
        await self._hand_over(server, h11.Data(data=portion))
        self._exchange.up += len(portion)
        self._rig.tally.sent(self._exchange, len(portion))
        self._rig.look(Moment.SENDING, self._exchange)

    async def _hand_over(self, server: Peer, event: h11.Event) -> None:
        """Send to the server. One that has gone may have answered before it went, so the rest is just dropped."""
        if not self._server_gone:
            try:
                await server.send(event)
            except ConnectionError:
                self._server_gone = True

    # Down

    async def _down(self, server: Peer, authority: str) -> None:
        """Pass the answer on, and return when the request is over, too."""
        while isinstance(head := await server.next_event(), h11.InformationalResponse):
            await self._client.send(head)
        if not isinstance(head, h11.Response):
            raise ConnectionError("the server has hung up without an answer")
        self._exchange.status = head.status_code
        self._rig.look(Moment.ANSWERED, self._exchange)
        if any(active.fault.lose_answer for active in self._faults):
            raise CutError(reset=True)
        await self._rig.line.travel(0.5)
        host = value_of(self._head, b"host")
        await self._client.send(for_client(head, authority, host, secure=self._client.secure))
        gate = Gate(self._marks_down(), self._paces(self._rig.line.down), self._send_down)
        await gate.open()
        while isinstance(event := await server.next_event(), h11.Data):
            await gate(bytes(event.data))
        if isinstance(event, h11.EndOfMessage):
            await self._client.send(event)
        await self._asked.wait()

    async def _send_down(self, portion: bytes) -> None:
        await self._client.send(h11.Data(data=portion))
        self._exchange.down += len(portion)
        self._rig.tally.received(self._exchange, len(portion))

    # Faults

    def _paces(self, shared: Pacer) -> list[Pacer]:
        return [shared, *(Pacer(active.fault.bandwidth) for active in self._faults)]

    def _marks_up(self) -> list[Mark]:
        marks = []
        for active in self._faults:
            fault = active.fault
            if fault.stall is not None and fault.stall_answer_after is None:
                marks.append(Mark(fault.stall_after, partial(active.pause, fault.stall)))
            if fault.cut_after is not None:
                marks.append(Mark(fault.cut_after, partial(_cut, reset=fault.reset)))
        return marks

    def _marks_down(self) -> list[Mark]:
        marks = []
        for active in self._faults:
            fault = active.fault
            if fault.stall is not None and fault.stall_answer_after is not None:
                marks.append(Mark(fault.stall_answer_after, partial(active.pause, fault.stall)))
            if fault.cut_answer_after is not None:
                marks.append(Mark(fault.cut_answer_after, partial(_cut, reset=fault.reset)))
        return marks


async def _cut(*, reset: bool) -> None:
    raise CutError(reset=reset)
