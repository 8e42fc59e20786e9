"""Faults of the way to Storage: what is to go wrong with which exchange."""

from __future__ import annotations

from pydantic import Field

from local.storage.faults import Answer
from local.switches import Active, Choice, Switches


class Fault(Choice):
    """Which exchanges go wrong, and how. All that is named happens; where two faults hit one exchange, both do.

    Of an exchange with a canned answer, and of one in a black hole, the server hears nothing.
    """

    latency: float = Field(default=0.0, ge=0.0)
    """Seconds before anything else happens; clearing the fault ends them."""
    bandwidth: int | None = Field(default=None, ge=1)
    """Bytes a second that the exchange may pass on, each way."""
    black_hole: bool = False
    """Take the whole request and never answer; clearing the fault cuts the connection."""
    answer: Answer | int | None = None
    """Answer this instead of the server. A bare status is given as Storage, or the gateway before it, gives it."""
    retry_after: int | None = Field(default=None, ge=0)
    """The seconds of the ``Retry-After`` of an answer that is a bare status."""
    stall: float | None = Field(default=None, ge=0.0)
    """Pass nothing on for so many seconds, or until the fault is cleared; who hangs up meanwhile is not noticed."""
    stall_after: int = Field(default=0, ge=0)
    """How many bytes of the request's body to pass on before stalling."""
    stall_answer_after: int | None = Field(default=None, ge=0)
    """Stall in the answer instead, when so many bytes of its body have been passed on."""
    cut_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the request's body have been passed on."""
    cut_answer_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the answer's body have been passed on."""
    reset: bool = False
    """Make the cut a reset (RST) instead of a close. Where no cut is named: reset before the server hears anything."""
    lose_answer: bool = False
    """Let the server do what was asked, drop its answer, and reset the connection."""

    @property
    def interrupts(self) -> bool:
        """Whether an exchange comes to another end by this, and not only later."""
        cuts = (self.cut_after, self.cut_answer_after, self.answer)
        return self.reset or self.black_hole or self.lose_answer or any(each is not None for each in cuts)


ActiveFault = Active[Fault]


class Faults(Switches[Fault]):
    """The faults that are switched on. Any thread may switch."""
