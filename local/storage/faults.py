"""Faults: what a test wants to go wrong inside the server, chosen while it runs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from local.switches import Active, Choice, Switches

BAD_GATEWAY = (
    "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<h1>502 Bad Gateway</h1>\n</body>\n</html>\n"
)
"""What a proxy says while the server behind it is down."""


class Answer(BaseModel):
    """An answer that the server gives instead of its own. ``retry_after`` is in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: int = Field(ge=200, le=599)
    body: str = ""
    content_type: str = "application/json; charset=utf-8"
    retry_after: int | None = None


class Fault(Choice):
    """Which requests go wrong, and how. All that is named happens, in the order in which it stands here."""

    latency: float = Field(default=0.0, ge=0.0)
    """Seconds before anything else happens; clearing the fault ends them."""
    reset: bool = False
    """Cut the connection before the request is looked at."""
    answer: Answer | None = None
    """Answer this, and do nothing."""
    corrupt: int | None = Field(default=None, ge=0)
    """Flip a bit of the body's byte of this index before it is stored."""
    stall: float | None = Field(default=None, ge=0.0)
    """Stop reading the body for so many seconds, or until the fault is cleared."""
    stall_after: int = Field(default=0, ge=0)
    """How many bytes of the body to read before stalling."""
    cut_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the body have been read. A resumable upload keeps them."""
    cut_answer_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the answer's body have been sent."""
    skip_commit: bool = False
    """Take a resumable upload's last byte and make no object of it, until an empty PATCH comes."""
    lose_answer: bool = False
    """Do what was asked, and cut the connection instead of answering."""


ActiveFault = Active[Fault]


class Faults(Switches[Fault]):
    """The faults that are switched on. Any thread may switch."""

    def down(self) -> int:
        """Answer everything as a proxy does whose server is down, and return the fault's number."""
        return self.add(Fault(answer=Answer(status=502, body=BAD_GATEWAY, content_type="text/html")))
