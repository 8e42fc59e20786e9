"""The stages that a run goes through with the uploader."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a run stands with the uploader."""

    CLAIMING = "claiming"
    PREPARING = "preparing"
    OPEN = "open"
    CONCLUDING = "concluding"
    CLOSED = "closed"
    REFUSED = "refused"
    LEFT = "left"
