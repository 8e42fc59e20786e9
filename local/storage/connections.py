"""The open connections: how many there are, and how to cut one off as a dead network would."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope
    from uvicorn.server import ServerState


class Connections:
    """The connections of a uvicorn server; none before it is attached."""

    def __init__(self) -> None:
        self._server: ServerState | None = None
        self.peak = 0

    def attach(self, server: ServerState) -> None:
        """Look at that server from now on."""
        self._server = server

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return 0 if self._server is None else len(self._server.connections)

    def sample(self) -> None:
        """Note how many there are. Connections only matter once they ask something, so this is done at each request."""
        self.peak = max(self.peak, self.open)

    def reset_peak(self) -> None:
        """Forget the most there have been."""
        self.peak = self.open

    def abort(self, scope: Scope) -> None:
        """Cut the connection that a request came by, dropping what is not yet sent."""
        if self._server is None:
            return
        for connection in list(self._server.connections):
            peer = connection.transport.get_extra_info("peername")
            if peer is not None and tuple(peer[:2]) == tuple(scope["client"]):
                connection.transport.abort()

    def abort_all(self) -> None:
        """Cut every connection."""
        for connection in [] if self._server is None else list(self._server.connections):
            connection.transport.abort()
