"""An ASGI app served in a background thread of this process, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp
    from uvicorn.server import ServerState

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


@contextmanager
def served(app: ASGIApp, attach: Callable[[ServerState], None] = lambda _: None) -> Iterator[str]:
    """Yield the app's URL while the block lasts. Raises RuntimeError when the server does not start.

    ``attach`` is given the server's state, for who wants to see its connections.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, timeout_graceful_shutdown=0, lifespan="off"
        )
        server = _Server(config)
        attach(server.server_state)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_START_SECONDS):
                raise RuntimeError("the server did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
