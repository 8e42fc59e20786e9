"""A disk without room, as the daemon meets it: room is made, and runs that have met it wait for that.

A run's ledger tells which of its checkpoints may go. Once closed, it may find no room to be opened again; so a run that
was refused a write stands still with its ledger open until nothing more can be deleted, and only then begins anew.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from shared.log import EventLog
from uploader.disk import says_full
from uploader.eviction import Eviction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from uploader.carrier import Carrier
    from uploader.world import World

log = EventLog("uploader")


class Shortage:
    """The shortage of room on one worker's disk. ``root`` is where its sessions are."""

    def __init__(self, root: Path, world: World) -> None:
        self._disk = world.disk
        self._eviction = Eviction(root, world)
        self._refused: dict[Path, OSError | sqlite3.Error] = {}
        self._told: str | None = None

    def takes_charge(self, carrier: Carrier, error: OSError | sqlite3.Error) -> bool:
        """Return whether a run's trouble means that the disk is full; it is then held back until room has been made."""
        if says_full(error):
            self._disk.note(error)
            self._refused[carrier.run.state] = error
        return says_full(error)

    def look(self, carriers: Sequence[Carrier]) -> None:
        """Make room where there is too little."""
        here = {carrier.run.state for carrier in carriers}
        self._refused = {state: error for state, error in self._refused.items() if state in here}
        try:
            self._eviction.look(carriers, at_once=bool(self._refused))
        except (OSError, sqlite3.Error) as error:
            if self._told != str(error):
                log.warning("room_not_made", reason=error)
            self._told = str(error)
        else:
            self._told = None

    def holds_back(self, carrier: Carrier) -> bool:
        """Return whether a run stands still just now. It stumbles when there is nothing more to wait for."""
        error = self._refused.get(carrier.run.state)
        if error is not None and not self._eviction.waiting:
            del self._refused[carrier.run.state]
            carrier.stumble(error)
        return error is not None
