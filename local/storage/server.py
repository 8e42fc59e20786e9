"""A running server: uvicorn in a thread of its own, ready when it is there and gone soon after it is told to go."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from local.storage.app import make_app
from local.storage.catalogue.store import Store
from local.storage.claim import claimed
from local.storage.connections import Connections
from local.storage.faults import Faults
from local.storage.options import SIZE_LIMIT, UPLOAD_EXPIRY, Options
from local.storage.services import Services
from local.storage.stats import Stats
from local.storage.tokens import Tokens, kept_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    from starlette.types import ASGIApp

_BACKLOG = 512
_START_SECONDS = 30.0
_STOP_SECONDS = 1
"""What requests under way are given at the end; their connections are cut before, so they hardly need it."""


@dataclass(frozen=True, slots=True)
class RunningStorage:
    """A server that answers. ``url`` is what SUPABASE_URL is to be, ``service_key`` SUPABASE_SERVICE_KEY."""

    url: str
    service_key: str
    anon_key: str
    tokens: Tokens
    app: ASGIApp
    faults: Faults
    stats: Stats


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, and cuts what is still open when it ends."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._open = connections
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._open.abort_all()
        await super().shutdown(sockets)


@contextmanager
def running_storage(
    root: str | PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    size_limit: int = SIZE_LIMIT,
    upload_expiry: float = UPLOAD_EXPIRY,
    multipart_etags: bool = False,
    secret: str | None = None,
    around: Callable[[ASGIApp, Store], ASGIApp] | None = None,
) -> Iterator[RunningStorage]:
    """Serve the folder ``root``, made if need be, while the block runs. Port 0 takes a free one.

    ``around`` may put something of its own between the network and the app, and look at the store there. Raises OSError
    if the folder or the port is not to be had.
    """
    options = Options(
        size_limit=size_limit, upload_expiry=upload_expiry, multipart_etags=multipart_etags, secret=secret
    )
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder), _listening(host, port) as listener:
        tokens = Tokens(options.secret or kept_secret(folder / "secret.json"))
        store, connections, faults = Store(folder, options), Connections(), Faults()
        stats = Stats(connections)
        app = make_app(Services(store, tokens, options), faults, stats, connections)
        server = _Server(_config(around(app, store) if around else app), connections)
        connections.attach(server.server_state)
        thread = threading.Thread(target=server.run, args=([listener],), name="storage", daemon=True)
        thread.start()
        try:
            _await_ready(server, thread)
            url = f"http://{host}:{listener.getsockname()[1]}"
            yield RunningStorage(url, tokens.service_key, tokens.anon_key, tokens, app, faults, stats)
        finally:
            faults.clear()
            server.should_exit = True
            thread.join()
            store.close()


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=61,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _await_ready(server: _Server, thread: threading.Thread) -> None:
    if not server.ready.wait(_START_SECONDS) or not thread.is_alive():
        raise RuntimeError("The embedded Storage did not start; the reason stands above on stderr.")
