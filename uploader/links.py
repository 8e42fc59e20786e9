"""The links in ``status.json``, where the job asked for them: signed as objects come, renewed in good time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.links import signed_links
from shared.log import EventLog
from shared.storage.errors import StorageError
from uploader import report
from uploader.lanes import Desk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.contract.bucket import Link, Status
    from shared.contract.session import Session
    from uploader.ledger import Ledger
    from uploader.run import Run
    from uploader.world import World

# A Storage that signs nothing is asked again after so long: links are a favour, and uploads go before.
_PAUSE_SECONDS = 60.0

log = EventLog("uploader")


@dataclass(frozen=True, slots=True)
class _Signed:
    """A link, with the moments (by the clock that goes on in a suspended machine) of its renewal and of its end."""

    link: Link
    renewal: float
    end: float


class Links:
    """The links of one run. Signing waits for Storage, so it has a desk of its own: the sign of life does not wait."""

    def __init__(self, run: Run, world: World) -> None:
        self._run = run
        self._storage = world.storage
        self._clock = world.clock
        self._desk: Desk[None] = Desk(world.lanes)
        self._signed: dict[str, _Signed] = {}
        self._again = 0.0

    @property
    def under_way(self) -> bool:
        """Return whether something is being signed."""
        return self._desk.under_way

    def look(self, ledger: Ledger, session: Session | None) -> None:
        """Have that signed which has come since the last look, or whose link will run out."""
        self._desk.take()
        now = self._clock.boottime()
        if session is None or session.link_seconds is None or self._desk.busy or now < self._again:
            return
        seconds = session.link_seconds
        keys = (*report.checkpoint_keys(self._run, ledger, 1), *report.sample_keys(self._run, ledger))
        if any(key not in self._signed or self._signed[key].renewal <= now for key in keys):
            self._desk.start(lambda: self._sign(keys, seconds))

    def renewed(self, status: Status, session: Session | None) -> Status:
        """Return ``status`` with links that are good for their whole time from now on. Waits for Storage."""
        if session is not None and session.link_seconds is not None:
            self._sign(_named(status), session.link_seconds)
        return self.into(status)

    def into(self, status: Status) -> Status:
        """Return ``status`` with the links that there are by now."""
        signed, now = self._signed, self._clock.boottime()
        links = (signed[key].link for key in _named(status) if key in signed and now < signed[key].end)
        return status.model_copy(update={"links": tuple(links)})

    def _sign(self, keys: Sequence[str], seconds: int) -> None:
        """Sign ``keys`` anew. Where Storage does not, the old links stay for as long as they are good."""
        begun, now = self._clock.boottime(), self._clock.now()
        try:
            links = signed_links(self._storage, self._run.bucket, keys, seconds, now)
        except StorageError as error:
            self._again = begun + _PAUSE_SECONDS
            log.warning("not_signed", session=self._run.session_id, reason=error.sentence)
        else:
            self._signed = {link.key: _Signed(link, begun + seconds / 2, begun + seconds) for link in links}


def _named(status: Status) -> tuple[str, ...]:
    return (*((status.last_checkpoint,) if status.last_checkpoint else ()), *status.last_samples)
