"""The server as an ASGI app: the routes, and around them the faults and the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from local.storage import answers
from local.storage.control import ControlEndpoints
from local.storage.endpoints.arranging import ArrangingEndpoints
from local.storage.endpoints.buckets import BucketEndpoints
from local.storage.endpoints.listing import ListingEndpoint
from local.storage.endpoints.listing_v2 import ListingV2Endpoint
from local.storage.endpoints.reading import ReadingEndpoints
from local.storage.endpoints.resumable import ResumableEndpoints
from local.storage.endpoints.signing import SigningEndpoints
from local.storage.endpoints.uploading import UploadEndpoints
from local.storage.faulty import Faulty
from local.storage.refusals import RefusedError
from local.storage.routing import route
from local.storage.stats import Counting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from local.storage.connections import Connections
    from local.storage.faults import Faults
    from local.storage.services import Services
    from local.storage.stats import Stats


def make_app(services: Services, faults: Faults, stats: Stats, connections: Connections) -> ASGIApp:
    """Return the app."""
    app = Starlette(
        routes=[*ControlEndpoints(faults, stats).routes(), *_routes(services)],
        exception_handlers={
            RefusedError: _refused,
            ClientDisconnect: _nobody_listens,
            404: _no_route,
            405: _no_route,
        },
    )
    app.router.redirect_slashes = False
    return Counting(Faulty(app, faults, connections), stats)


def _routes(services: Services) -> list[Route]:
    """Return Storage's own routes; the catch-all ones of objects come last."""
    return [
        route("/status", _status, "GET", "HEAD"),
        route("/health", _health, "GET", "HEAD"),
        *BucketEndpoints(services).routes(),
        *ResumableEndpoints(services).routes(),
        *ListingEndpoint(services).routes(),
        *ListingV2Endpoint(services).routes(),
        *SigningEndpoints(services).routes(),
        *ArrangingEndpoints(services).routes(),
        *ReadingEndpoints(services).routes(),
        *UploadEndpoints(services).routes(),
    ]


async def _status(_request: Request) -> Response:
    return Response(status_code=200)


async def _health(_request: Request) -> Response:
    return answers.as_json({"healthy": True})


async def _refused(_request: Request, error: Exception) -> Response:
    return answers.refused(cast("RefusedError", error))


async def _no_route(request: Request, _error: Exception) -> Response:
    return answers.no_route(request)


async def _nobody_listens(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)
