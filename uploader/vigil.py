"""Before a run is ours, and its ledger with it: every checkpoint is held, since nobody knows yet which were delivered.

An uploader that is started again while Storage is away cannot ask whether the claim is still its own. The trainer goes
on deleting meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from uploader.kinds import Kind, ignored, nature
from uploader.scan import Tree

if TYPE_CHECKING:
    from shared.clock import Clock
    from shared.settings import UploadSettings
    from uploader.grips import Grips
    from uploader.run import Run


class Vigil:
    """Watches over the checkpoints of one run that is not carried yet."""

    def __init__(self, run: Run, grips: Grips, settings: UploadSettings, clock: Clock) -> None:
        self._run = run
        self._grips = grips
        self._limit = settings.spool_bytes
        self._skip = partial(ignored, exclude=settings.exclude, name=run.name)
        self._tree = Tree(run.output, self._skip, clock.monotonic)

    def look(self) -> None:
        """Take hold of what is new; of what has been deleted, let go of the oldest beyond ``SPOOL_BYTES``."""
        for _, files in self._tree.changed(everything=False):
            for seen in sorted(files, key=lambda seen: -seen.version.mtime_ns):
                if nature(seen.path, self._run.name).kind is Kind.CHECKPOINT and not seen.strange:
                    self._grips.take(seen.path, seen.version.inode)
        left = self._limit
        for seen in sorted(self._grips.nameless(), key=lambda seen: -seen.version.mtime_ns):
            left -= seen.version.size
            if left < 0:
                self._grips.drop(seen.path, seen.version.inode)
