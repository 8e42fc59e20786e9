"""Several workers on one volume: an uploader each, which a test ticks together or leaves frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import Upload
from tests.unit.uploader.bridge import Bridge
from tests.unit.uploader.harbour import Inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.layout import SessionFolder
    from tests.unit.uploader.harbour import Harbour
    from uploader.carrier import Carrier
    from uploader.lanes import Lane

_LONG = 600


class Fleet:
    """The workers of one volume, by name. Whoever is not named in a call is frozen, or dead."""

    def __init__(self, harbour: Harbour, *names: str, hurry: bool = False) -> None:
        self.harbour = harbour
        self.workers: dict[str, Bridge] = {}
        for name in names:
            self.start(name, hurry=hurry)

    def start(self, name: str, *, hurry: bool = False) -> None:
        """Start the uploader of a worker, anew where there was one."""
        self.workers[name] = Bridge(self.harbour, worker=name, hurry=hurry)

    def tick(self, *names: str, count: int = 1) -> None:
        """Let these workers do what they can, once a second."""
        for _ in range(count):
            for name in names:
                self.workers[name].daemon.tick()
                self.harbour.check_manifest()
            self.harbour.clock.advance(1)

    def until(self, condition: Callable[[], object], *names: str) -> float:
        """Tick these workers until the condition holds; return how many seconds passed."""
        for seconds in range(_LONG):
            if condition():
                return seconds
            self.tick(*names)
        raise AssertionError(f"not within {_LONG} s")

    def lane(self, name: str, lane: Lane) -> Inline:
        """Return what works in a lane of a worker."""
        executor = self.workers[name].world.lanes._executors[lane]
        assert isinstance(executor, Inline)
        return executor

    def carrier(self, name: str) -> Carrier:
        """Return the one run that a worker carries."""
        [carrier] = self.workers[name].daemon.carriers
        return carrier

    def kill(self, name: str) -> None:
        """Let go of the ledgers' locks as a killed process does; nothing is finished."""
        for carrier in self.workers.pop(name).daemon.carriers:
            if carrier.hold is not None:
                carrier.hold.ledger.close()


def told(folder: SessionFolder) -> Upload:
    """Return what the uploaders say of a session."""
    upload = Upload.read(folder.upload_file)
    assert upload is not None
    return upload


def receipt(folder: SessionFolder) -> str | None:
    """Return the token of the drain that has been answered."""
    upload = Upload.read(folder.upload_file)
    return upload.receipt.token if upload and upload.receipt else None
