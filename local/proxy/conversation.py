"""One client's connection, exchange after exchange, and the connection to the server that goes with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from local.proxy.answers import answer_of
from local.proxy.control import CONTROL
from local.proxy.exchange import Moment, decoded
from local.proxy.gate import CutError
from local.proxy.heads import value_of
from local.proxy.passage import Passage
from local.proxy.peer import BLOCK, Peer

if TYPE_CHECKING:
    from local.proxy.control import Control
    from local.proxy.rig import Rig

_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is. ``authority`` is its name as a request says it."""

    host: str
    port: int
    tls: bool
    authority: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address of a URL. Raises ValueError where it is more or less than scheme, host and port."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"{url!r} is not the address of a server, such as http://127.0.0.1:8000")
        return cls(parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme == "https", parts.netloc)


class Conversation:
    """Serves one client until one of the two hangs up, or a fault cuts the connection."""

    def __init__(self, client: Peer, server: Address, rig: Rig, control: Control) -> None:
        self._client = client
        self._address = server
        self._rig = rig
        self._control = control
        self._server: Peer | None = None
        # A handshake takes a round trip, and another one where the connection is encrypted.
        self._trips = 2.5 if client.secure else 1.5

    async def run(self) -> None:
        """Serve. Whatever ends it, both connections are closed then."""
        try:
            while await self._exchange():
                continue
        except CutError as cut:
            if cut.reset:
                self._client.reset()
        except (ConnectionError, h11.ProtocolError):
            # One of the two is gone or speaks no HTTP: the other one learns it by being hung up on.
            pass
        finally:
            self._client.close()
            self._drop_server()

    async def _exchange(self) -> bool:
        """Pass on one exchange; return whether another one may follow."""
        head = await self._client.next_event()
        if not isinstance(head, h11.Request):
            return False
        path = decoded(head.target)
        if path.startswith(CONTROL):
            await self._steer(head, path)
            return self._client.next_cycle()
        method, length = head.method.decode(), value_of(head, b"content-length")
        exchange = self._rig.begin(method, path, int(length) if length.isdigit() else None)
        faults = self._rig.faults.hitting(method, path)
        if any(active.fault.interrupts for active in faults):
            self._rig.tally.interrupted(exchange)
        passage = Passage(exchange, head, self._client, faults, self._rig)
        self._rig.look(Moment.ASKED, exchange)
        await self._rig.line.travel(self._trips)
        self._trips = 0.5
        if not await passage.stopped():
            await self._ask_server(passage, path)
        return self._client.next_cycle()

    async def _ask_server(self, passage: Passage, path: str) -> None:
        server = await self._connected()
        if server is None:
            await passage.answered(answer_of(502, path, None))
            return
        await passage.through(server, self._address.authority)
        if not server.next_cycle():
            self._drop_server()

    async def _connected(self) -> Peer | None:
        """Return the connection to the server, a new one if need be; None where there is no server."""
        if self._server is not None and self._server.hung_up:
            self._drop_server()
        if self._server is None:
            address = self._address
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    link = await asyncio.open_connection(
                        address.host, address.port, ssl=address.tls or None, limit=BLOCK
                    )
            except OSError:
                return None
            self._server = Peer(*link, h11.CLIENT)
        return self._server

    def _drop_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _steer(self, head: h11.Request, path: str) -> None:
        body = bytearray()
        while isinstance(event := await self._client.next_event(), h11.Data):
            body += event.data
        status, said = self._control.answer(head.method.decode(), path, bytes(body))
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(said)))]
        answer = h11.Response(status_code=status, headers=headers)
        await self._client.send(answer, h11.Data(data=said), h11.EndOfMessage())
