"""What every contestant is given, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What Supabase's documentation asks for.
DOCUMENTED_CHUNK = 6 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Storage is to be reached: the project's URL, its key, and who vouches for its certificate."""

    url: str
    key: str = field(repr=False)
    authority: Path | None = None

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables that say all this, for httpx, requests and Ferry."""
        told = {"SUPABASE_URL": self.url, "SUPABASE_SERVICE_KEY": self.key}
        if self.authority is not None:
            told |= {"SSL_CERT_FILE": str(self.authority), "REQUESTS_CA_BUNDLE": str(self.authority)}
        return told


@dataclass(frozen=True, slots=True)
class Task:
    """Files to be brought to ``bucket`` below ``prefix``, over so many connections, in chunks of so many bytes.

    ``folder`` is an empty one of the contestant's own.
    """

    endpoint: Endpoint
    bucket: str
    prefix: str
    files: tuple[Path, ...]
    folder: Path
    connections: int
    chunk: int = DOCUMENTED_CHUNK


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many seconds it took, and the most memory that the process had, in bytes. ``facts`` are counts.

    ``cpu`` is processor time in seconds, from the process's start to its end; 0 for one that lives on.
    """

    seconds: float
    peak: int = 0
    cpu: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)


Contestant = Callable[[Task], Outcome]
