"""What a queue's workers have asked and told it, in the order in which it came."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """What a request is for."""

    TAKE = "take"
    STOP = "stop"
    PING = "ping"
    PROGRESS = "progress"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Heard:
    """One request of a worker. ``jobs`` are the ids that it names, ``payload`` is what it posts, as parsed."""

    kind: Kind
    worker: str
    jobs: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    payload: Mapping[str, Any] | None = None
