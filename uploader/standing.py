"""How a run stands towards its prefix, and what is said where somebody else has it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from uploader.run import Run


class Standing(StrEnum):
    """What a look at the claim has shown.

    ``watching``: whoever holds it has not been seen to move yet. ``tended``: another worker's uploader, which lives,
    carries this very run. ``in_use``: another run, which lives, writes there. ``superseded``: another run has claimed
    the prefix since this one held it.
    """

    OWNED = "owned"
    WATCHING = "watching"
    TENDED = "tended"
    IN_USE = "in_use"
    SUPERSEDED = "superseded"


def refusal(run: Run, standing: Standing) -> FerryError:
    """Return why ``run`` may not write under its prefix."""
    where = f"{run.bucket}/{run.prefix}"
    sentences = {
        Standing.TENDED: f"Another uploader carries this folder to {where}: this one takes over when that has stopped.",
        Standing.SUPERSEDED: f"Another run has taken {where} over: nothing more of this one is written there, unless"
        " python -m uploader retry asks for it back.",
    }
    in_use = f"Another run is writing to {where}: choose another folder_path or name, or wait for its end."
    return FerryError(ErrorCode.PREFIX_IN_USE, sentences.get(standing, in_use))
