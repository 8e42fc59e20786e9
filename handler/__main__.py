"""``python -m handler``: the worker."""

from __future__ import annotations

import sys

from handler.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
