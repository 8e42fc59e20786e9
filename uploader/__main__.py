"""``python -m uploader``: the daemon and its commands."""

from __future__ import annotations

import sys

from uploader.commands.line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
