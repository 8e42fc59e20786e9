"""``trainer.exit``: how the trainer ended, written by the launcher, because only a parent learns an exit code."""

from __future__ import annotations

from shared.contract.document import Document


class TrainerExit(Document):
    """``code`` is the exit code, negative for a signal's number; ``at`` is Unix seconds."""

    code: int
    at: float
