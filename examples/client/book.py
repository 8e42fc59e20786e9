"""What has been sent of a batch, written down so that nothing is sent twice: before each sending, and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.client.training import How
from shared.contract.document import Document, Record
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.client.request import Request

NAME = ".batch.json"


class Sent(Record):
    """One training. ``jobs`` are the ids that it was sent as, the newest last; times are Unix seconds.

    ``sending``: it was about to be sent then, and nobody has noted what came of it. ``how`` and ``sentence`` tell its
    end, ``fetched`` whether its results are in their folder.
    """

    name: str
    jobs: tuple[str, ...] = ()
    sending: float | None = None
    how: How | None = None
    sentence: str | None = None
    fetched: bool = False


class _Pages(Document):
    """The file: every training by the SHA-256 of its input. One that was changed is another one."""

    trainings: dict[str, Sent] = {}  # noqa: RUF012 - pydantic copies it


class Book:
    """The batch of a folder. Raises FerryError where its file is there and cannot be understood."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        found = _Pages.read(self._path)
        if found is None and self._path.exists():
            sentence = f"{self._path} is not this program's: what was sent is not known. Move it away to begin anew."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence)
        self._trainings = dict(found.trainings) if found else {}

    def of(self, request: Request) -> Sent:
        """Return what is known of a training."""
        return self._trainings.get(request.digest) or Sent(name=request.name)

    def note(self, request: Request, **changes: object) -> None:
        """Take in what changed of a training, and write it down at once. Raises OSError as the disk does."""
        self._trainings[request.digest] = self.of(request).model_copy(update={"name": request.name, **changes})
        _Pages(trainings=self._trainings).write(self._path)

    def without(self, requests: Sequence[Request]) -> list[Sent]:
        """Return the trainings that have been sent and have not ended, of which no file tells any more."""
        known = {request.digest for request in requests}
        return [sent for digest, sent in self._trainings.items() if digest not in known and sent.how is None]
