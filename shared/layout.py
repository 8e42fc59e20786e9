"""Where everything lies under the training root. Paths inside a session are relative: a volume moves between mounts."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSION_PREFIX = "training_session_"


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """The folder of one session, and the name of each thing in it."""

    path: Path

    @property
    def session_id(self) -> str:
        """Return the session's id, which is the folder's name."""
        return self.path.name

    @property
    def session_file(self) -> Path:
        """Return the handler's ``session.json``."""
        return self.path / "session.json"

    @property
    def upload_file(self) -> Path:
        """Return the uploader's ``upload.json``."""
        return self.path / "upload.json"

    @property
    def requests(self) -> Path:
        """Return the folder that commands put their wishes in."""
        return self.path / "requests"

    @property
    def config_file(self) -> Path:
        """Return the rewritten configuration."""
        return self.path / "config.yaml"

    @property
    def dataset(self) -> Path:
        """Return the folder of staged inputs."""
        return self.path / "dataset"

    @property
    def trainer_output(self) -> Path:
        """Return the trainer's raw output."""
        return self.path / "trainer.out"

    @property
    def trainer_exit(self) -> Path:
        """Return the launcher's note of how the trainer ended."""
        return self.path / "trainer.exit"

    @property
    def spool(self) -> Path:
        """Return the folder of what must outlive the trainer's own deletions."""
        return self.path / "spool"

    @property
    def output(self) -> Path:
        """Return the folder that the trainer writes to and that is uploaded."""
        return self.path / "output"

    @property
    def training_log(self) -> Path:
        """Return the cleaned log that the handler adds to the output."""
        return self.output / "logs" / "training.log"

    def ledger(self, epoch: int) -> Path:
        """Return the ledger that belongs to one epoch of the claim."""
        return self.path / f"ledger.{epoch}.sqlite3"


def sessions(root: Path) -> Iterator[SessionFolder]:
    """Yield the sessions under ``root``, oldest first; none where the root does not exist yet.

    What the volume does not tell of is counted in: a trainer may live for it. Raises OSError where the root cannot be
    listed.
    """
    try:
        paths = sorted(root.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        if path.name.startswith(SESSION_PREFIX) and _may_be_folder(path):
            yield SessionFolder(path)


def _may_be_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def workers_folder(root: Path) -> Path:
    """Return the folder in which every uploader shows that it lives."""
    return root / ".workers"


def worker_file(root: Path, worker: str) -> Path:
    """Return the file by which the uploader of ``worker`` does."""
    return workers_folder(root) / f"{worker}.json"


def taken_file(root: Path, worker: str) -> Path:
    """Return the file in which the handler of ``worker`` writes down which job it has taken."""
    return workers_folder(root) / f"{worker}.job"
