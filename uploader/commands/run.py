"""``run``: the daemon."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from shared.log import EventLog, configure
from shared.settings import read_log_format
from uploader.commands.display import display
from uploader.commands.serving import serving

if TYPE_CHECKING:
    from argparse import Namespace

log = EventLog("uploader")


def main(options: Namespace) -> int:
    """Carry everything until told to stop."""
    configure(read_log_format())
    with serving(options, hurry=False, lock_seconds=None) as here:
        log.info("ready", pid=os.getpid())
        with display(sys.stderr, here.daemon):
            here.daemon.run(here.leave)
        log.info("stopped")
    # A lane may still wait for a silent server; what it does is durable or will be done again.
    sys.stderr.flush()
    os._exit(0)
