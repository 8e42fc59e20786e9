"""``/_faults`` and ``/_stats``: switching faults and reading counters from outside. They need no token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.storage.faults import Fault

if TYPE_CHECKING:
    from starlette.requests import Request

    from local.storage.faults import Faults
    from local.storage.stats import Stats


class ControlEndpoints:
    """The routes that are not Storage's."""

    def __init__(self, faults: Faults, stats: Stats) -> None:
        self._faults = faults
        self._stats = stats

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_faults", self.add, methods=["POST"]),
            Route("/_faults/down", self.down, methods=["POST"]),
            Route("/_faults", self.show, methods=["GET"]),
            Route("/_faults", self.clear, methods=["DELETE"]),
            Route("/_faults/{number:int}", self.clear, methods=["DELETE"]),
            Route("/_stats", self.stats, methods=["GET"]),
            Route("/_stats", self.reset, methods=["DELETE"]),
        ]

    async def add(self, request: Request) -> Response:
        """Switch on the fault in the body and return its number."""
        try:
            fault = Fault.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(f"Not a fault: {error}\n", 400, media_type="text/plain")
        return JSONResponse({"id": self._faults.add(fault)}, 201)

    async def down(self, _request: Request) -> Response:
        """Let everything be answered as by a proxy whose server is down, and return the fault's number."""
        return JSONResponse({"id": self._faults.down()}, 201)

    async def show(self, _request: Request) -> Response:
        """Return the faults that are switched on, with their counts."""
        return JSONResponse(self._faults.shown())

    async def clear(self, request: Request) -> Response:
        """Switch one fault off, or all."""
        self._faults.clear(request.path_params.get("number"))
        return Response(status_code=204)

    async def stats(self, _request: Request) -> Response:
        """Return the counters."""
        return JSONResponse(self._stats.shown())

    async def reset(self, _request: Request) -> Response:
        """Set the counters back."""
        self._stats.reset()
        return Response(status_code=204)
