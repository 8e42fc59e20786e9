"""``python -m handler``: the worker."""

from __future__ import annotations

import sys

from handler.unheard import outlive_readers
from handler.worker import main
from shared.secrecy import keep_secrets

if __name__ == "__main__":
    outlive_readers()
    keep_secrets()
    sys.exit(main(sys.argv[1:]))
