"""The line between a contestant and Storage, as the fault proxy imitates it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """Round trip in milliseconds, bandwidth in bytes a second each way (None: no limit), and whether it is encrypted.

    A line that does nothing is no proxy at all: the contestants then speak with Storage directly.
    """

    round_trip: int = 0
    bandwidth: int | None = None
    tls: bool = False

    @property
    def direct(self) -> bool:
        """Return whether nothing stands between."""
        return self == Line()

    @property
    def label(self) -> str:
        """Return its name in the table."""
        words = [f"{self.round_trip} ms"]
        if self.bandwidth is not None:
            words.append(f"{self.bandwidth * 8 // 1_000_000} Mbit/s")
        if self.tls:
            words.append("TLS")
        return ", ".join(words)
