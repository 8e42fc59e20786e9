"""Machines that share one volume: an uploader each, under a worker's name of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shared.contract.session import Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder
from tests.scenario.uploader.port import until

if TYPE_CHECKING:
    import subprocess

    from tests.scenario.uploader.port import Port


class Machines:
    """The machines of one volume; ``port`` is the volume, and the Storage that they share."""

    def __init__(self, port: Port) -> None:
        self.port = port

    def start(self, worker: str, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start an uploader on a machine of that name. A machine's locks lie on its own disk."""
        disk = self.port.folder / f"disk-{worker}"
        disk.mkdir(exist_ok=True)
        own = {"RUNPOD_POD_ID": worker, "TMPDIR": str(disk), "UPLOAD_LOG_SECONDS": "15", **environ}
        return self.port._start([sys.executable, "-m", "tests.scenario.takeover.hasty", *arguments], own)

    def another_session(self, name: str, **fields: object) -> SessionFolder:
        """Write a session beside the port's own one."""
        session = Session.read(self.port.session().session_file)
        assert session is not None
        folder = SessionFolder(self.port.root / name)
        folder.output.mkdir(parents=True)
        session.model_copy(update={"session_id": name, "prefix": f"run/{name}", **fields}).write(folder.session_file)
        return folder

    def told(self, folder: SessionFolder) -> Upload | None:
        """Return what the uploaders say of a session."""
        return Upload.read(folder.upload_file)

    def answered(self, folder: SessionFolder, seconds: float = 90.0) -> Upload:
        """Wait until a session has been closed; return what is said of it."""

        def receipt() -> Upload | None:
            upload = self.told(folder)
            return upload if upload is not None and upload.receipt is not None else None

        return until(receipt, f"the receipt\n{self.port.printed()[-3000:]}", seconds)

    def claims(self) -> list[str]:
        """Return the names of everything among the claims."""
        listing = self.port.storage.folder("outputs", "run/pictures/claims")
        return [record.key.rpartition("/")[2] for record in listing.files]
