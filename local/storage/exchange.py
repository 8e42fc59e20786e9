"""What is known of one request besides what ASGI says: for the counters and for the faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from starlette.types import Scope

_NAME = "local.storage.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``target`` is ``bucket/key`` of the object that its body is for, if any."""

    received: int = 0
    sent: int = 0
    target: str | None = None
    skip_commit: bool = False


def exchange_of(scope: Scope) -> Exchange:
    """Return the record of the request that ``scope`` describes, made at the first call."""
    return cast("Exchange", scope.setdefault(_NAME, Exchange()))
