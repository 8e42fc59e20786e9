"""``once``: one pass until everything is uploaded and verified, or a list of what is not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from shared.clock import SystemClock
from shared.contract.upload import StorageState
from shared.log import configure
from shared.settings import read_log_format
from shared.sizes import counted, shown
from uploader.commands.display import display
from uploader.commands.serving import serving
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace

    from uploader.commands.serving import Serving
    from uploader.daemon import Daemon

# Another uploader that is just stopping frees the lock at once.
_LOCK_SECONDS = 5.0


def main(options: Namespace) -> int:
    """Carry until everything is at rest; return 0 when nothing is missing."""
    configure(read_log_format())
    with serving(options, hurry=True, lock_seconds=_LOCK_SECONDS) as here:
        with display(sys.stderr, here.daemon):
            finished = _until_at_rest(here, options.patience)
        missing = _missing(here.daemon)
        _tell(here.daemon, missing, finished=finished)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if finished and not missing else 1)


def _until_at_rest(here: Serving, patience: float) -> bool:
    """Return whether everything came to rest; False when stopped, or when nothing moved for ``patience`` seconds."""
    clock = SystemClock()
    moved, since = here.daemon.movement(), clock.monotonic()
    told: set[str] = set()
    while not here.stop.is_set():
        here.wake.clear()
        here.daemon.tick()
        if here.daemon.at_rest:
            return True
        now, watched = here.daemon.movement(), here.daemon.watched()
        for sentence in watched:
            if sentence not in told:
                told.add(sentence)
                print(f"uploader: {on_terminal(sentence)}", file=sys.stderr)
        if watched or now != moved:
            # Somebody else's silence ends by itself.
            moved, since = now, clock.monotonic()
        if clock.monotonic() - since >= patience or _is_hopeless(here.daemon):
            return False
        here.wake.wait(0.2)
    return False


def _is_hopeless(daemon: Daemon) -> bool:
    return any(carrier.line.state is StorageState.DENIED for carrier in daemon.carriers)


def _missing(daemon: Daemon) -> list[str]:
    lines = [f"{name}: {failure.path}: {failure.reason}" for name, failure in daemon.failures()]
    refused = [f"{carrier.run.name}: {carrier.upload.refusal}" for carrier in daemon.carriers if carrier.upload.refusal]
    return [*lines, *refused, *(f"{name}: it is left alone: {reason}." for name, reason in daemon.elsewhere())]


def _tell(daemon: Daemon, missing: list[str], *, finished: bool) -> None:
    for line in missing:
        print(on_terminal(line))
    if not finished:
        reasons = " ".join(daemon.problems()) or "Nothing moved any more."
        print(f"uploader: not everything is in the bucket. {reasons}", file=sys.stderr)
    elif missing:
        print(f"uploader: {len(missing)} could not be uploaded; they are listed above.", file=sys.stderr)
    else:
        files, size = daemon.delivered()
        print(f"Everything is uploaded and verified: {counted(files, 'file')}, {shown(size)}.")
