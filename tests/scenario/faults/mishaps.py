"""What can happen to an exchange with Storage, and which exchange of an operation it happens to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.proxy.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

FOR_GOOD = 1e6


@dataclass(frozen=True, slots=True)
class Place:
    """The exchanges of an operation that are hit: their method, and a regular expression for their path.

    ``request`` and ``answer`` are a byte in the middle of the bodies; None where there is none.
    """

    method: str
    path: str
    request: int | None
    answer: int | None


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that goes wrong. ``says`` is what a person is told where it never passes.

    ``effect`` returns the fields of the fault, or None where it cannot happen at that place. ``silent``: the client
    hears nothing any more.
    """

    name: str
    effect: Callable[[Place], dict[str, Any] | None]
    says: str
    silent: bool = False

    def happens_at(self, place: Place) -> bool:
        """Return whether this can happen there."""
        return self.effect(place) is not None

    def fault(self, place: Place, count: int | None) -> Fault:
        """Return the fault that lets it happen to ``count`` exchanges at ``place``; None: to each."""
        return Fault(method=place.method, path=place.path, count=count, **(self.effect(place) or {}))


def _always(**effect: Any) -> Callable[[Place], dict[str, Any]]:
    return lambda _: effect


def _in_request(field: str, **effect: Any) -> Callable[[Place], dict[str, Any] | None]:
    return lambda place: None if place.request is None else {field: place.request, **effect}


def _in_answer(field: str, **effect: Any) -> Callable[[Place], dict[str, Any] | None]:
    return lambda place: None if place.answer is None else {field: place.answer, **effect}


BROKE = "the connection broke"
SILENCE = "Storage did not answer in time"

MISHAPS = (
    Mishap("slow", _always(latency=0.05), ""),
    Mishap("narrow", _always(bandwidth=20_000_000), ""),
    Mishap("cut before the body", _always(cut_after=0), BROKE),
    Mishap("cut in the request", _in_request("cut_after"), BROKE),
    Mishap("cut before the answer", _always(cut_answer_after=0), BROKE),
    Mishap("cut in the answer", _in_answer("cut_answer_after"), BROKE),
    Mishap("reset at once", _always(reset=True), BROKE),
    Mishap("reset in the request", _in_request("cut_after", reset=True), BROKE),
    Mishap("reset in the answer", _in_answer("cut_answer_after", reset=True), BROKE),
    Mishap("black hole", _always(black_hole=True), SILENCE, silent=True),
    Mishap("stalled in the request", _in_request("stall_after", stall=FOR_GOOD), SILENCE, silent=True),
    Mishap("stalled before the answer", _always(stall_answer_after=0, stall=FOR_GOOD), SILENCE, silent=True),
    Mishap("stalled in the answer", _in_answer("stall_answer_after", stall=FOR_GOOD), SILENCE, silent=True),
    Mishap("stalled for a moment", _in_request("stall_after", stall=0.05), ""),
    Mishap("409", _always(answer=409), "Storage answers 409"),
    Mishap("410", _always(answer=410), "Storage answers 410"),
    Mishap("423", _always(answer=423), "Storage answers 423"),
    Mishap("429 with Retry-After", _always(answer=429, retry_after=1), "Storage answers 429"),
    Mishap("500", _always(answer=500), "Storage answers 500"),
    Mishap("503", _always(answer=503), "Storage answers 503"),
    Mishap("544", _always(answer=544), "Storage answers 544"),
    Mishap("502 in HTML", _always(answer=502), "Storage answers 502, an HTML page"),
    Mishap("504 in HTML", _always(answer=504), "Storage answers 504, an HTML page"),
    Mishap("answer lost", _always(lose_answer=True), BROKE),
)
HARMLESS = frozenset({"slow", "narrow", "stalled for a moment"})


def at(place: Place) -> list[Mishap]:
    """Return what can happen at a place."""
    return [mishap for mishap in MISHAPS if mishap.happens_at(place)]
