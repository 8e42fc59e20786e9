"""``python -m uploader``: the daemon and its commands."""

# PYTHON_ARGCOMPLETE_OK: by this mark a shell knows that it may ask for completions.

from __future__ import annotations

import sys

from shared.secrecy import keep_secrets
from uploader.commands.line import main

if __name__ == "__main__":
    keep_secrets()
    sys.exit(main(sys.argv[1:]))
