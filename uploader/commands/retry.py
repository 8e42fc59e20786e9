"""``retry``: asks the daemon to try again what had failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import Upload
from shared.settings import read_root
from shared.sizes import counted
from uploader.commands.known_runs import states
from uploader.requests import leave

if TYPE_CHECKING:
    from argparse import Namespace


def main(options: Namespace) -> int:
    """Leave a wish for every run that has failures; return 0."""
    asked = 0
    for state in states(read_root(), options.watch):
        upload = Upload.read(state / "upload.json")
        if upload is not None and upload.failed.files:
            leave(state / "requests", "retry")
            asked += upload.failed.files
    print(
        f"Asked the uploader to try {counted(asked, 'file')} again."
        if asked
        else "Nothing has failed; nothing to retry."
    )
    return 0
