"""One end of the proxy: an HTTP/1.1 connection, to the client or to the server."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, TypeVar

import h11

if TYPE_CHECKING:
    import asyncio

BLOCK = 256 << 10
# Storage's Upload-Metadata may hold a file's whole user metadata.
_LARGEST_HEAD = 64 << 10
# On, and no time at all: closing throws away what is unsent and resets the connection.
_LINGER_NOT = struct.pack("ii", 1, 0)

E = TypeVar("E", bound=h11.Event)


class HungUpError(ConnectionError):
    """The other side has closed the connection."""


class Peer:
    """Reads and writes HTTP events. ``role`` is who we are towards this peer: h11.SERVER towards a client."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: type[h11.CLIENT | h11.SERVER]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(role, max_incomplete_event_size=_LARGEST_HEAD)

    @property
    def hung_up(self) -> bool:
        """Return whether an idle connection can no longer be used."""
        return self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()

    @property
    def secure(self) -> bool:
        """Return whether the connection is encrypted."""
        return self._writer.get_extra_info("ssl_object") is not None

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """Return what comes next. Raises h11.RemoteProtocolError where it is no HTTP, or ends in the middle."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # mypy does not see that the sentinel is ruled out
            self._http.receive_data(await self._reader.read(BLOCK))

    async def until_hung_up(self) -> None:
        """Wait until this side closes the connection; a next request that comes meanwhile is kept."""
        while data := await self._reader.read(BLOCK):
            self._http.receive_data(data)
        raise HungUpError

    async def send(self, *events: h11.Event) -> None:
        """Send events, and return when there is room for more. Raises ConnectionError."""
        # In one piece: a head that goes out line by line costs a packet each, and may meet a peer that closes between.
        self._writer.writelines(
            [data for event in events for data in self._http.send_with_data_passthrough(event) or ()]
        )
        await self._writer.drain()

    def next_cycle(self) -> bool:
        """Return whether another exchange may follow on this connection, and get ready for it."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def close(self) -> None:
        """Close, once what has been sent has left."""
        self._writer.close()

    def reset(self) -> None:
        """Reset the connection; what has not left is dropped."""
        link = self._writer.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._writer.transport.abort()
