"""``python -m uploader``: the daemon and its commands."""

from __future__ import annotations

import sys

from shared.secrecy import keep_secrets
from uploader.commands.line import main

if __name__ == "__main__":
    keep_secrets()
    sys.exit(main(sys.argv[1:]))
