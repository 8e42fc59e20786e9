"""A running proxy: in a thread of its own, ready when it is there and gone when the block ends."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from local.proxy.control import Control
from local.proxy.conversation import Address, Conversation
from local.proxy.peer import BLOCK, Peer
from local.proxy.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ssl import SSLContext

_BACKLOG = 512
_START_SECONDS = 30.0
# What a client has sent and the proxy has not taken lies in the kernel: little, so that a client feels a stall soon.
_UNREAD_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that serves at ``url``; whatever is in ``rig`` may be changed while it does."""

    url: str
    rig: Rig


@contextmanager
def running_proxy(
    to: str,
    rig: Rig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: SSLContext | None = None,
) -> Iterator[RunningProxy]:
    """Stand before the server at the URL ``to`` while the block runs. Port 0 takes a free one; ``tls`` makes it https.

    Raises ValueError where ``to`` is no server's address, OSError if the port is not to be had.
    """
    address, rig = Address.of(to), rig or Rig()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
        # asyncio does so by itself only for sockets that were made with the protocol's number; this one is not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served = f"{'http' if tls is None else 'https'}://{host}:{listener.getsockname()[1]}"
        serving = _Serving(listener, address, rig, tls)
        serving.start()
        try:
            yield RunningProxy(served, rig)
        finally:
            rig.faults.clear()
            serving.stop()


class _Serving:
    """The thread, its event loop, and all connections."""

    def __init__(self, listener: socket.socket, server: Address, rig: Rig, tls: SSLContext | None) -> None:
        self._listener = listener
        self._server = server
        self._rig = rig
        self._tls = tls
        self._control = Control(rig)
        self._open: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    def start(self) -> None:
        """Return when connections are taken."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("The proxy did not start; the reason stands above on stderr.")

    def stop(self) -> None:
        """Cut everything, and return when the thread has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=BLOCK, ssl=self._tls)
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._rig.tally.connected()
        client = Peer(reader, writer, h11.SERVER)
        task = asyncio.ensure_future(Conversation(client, self._server, self._rig, self._control).run())
        self._open.add(task)
        task.add_done_callback(self._open.discard)
