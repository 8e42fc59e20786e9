"""``python -m bench.rivals NAME``: does the task on its stdin, and prints how many seconds that took.

Python's start and imports are not counted: a rival is a part of somebody's program that runs already.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

from bench.rivals.catalogue import SCRIPTS
from bench.rivals.handing import received


def main(name: str) -> None:
    """Run one rival."""
    module, function = SCRIPTS[name]
    run = getattr(import_module(module), function)
    task = received(sys.stdin.read())
    start = time.perf_counter()
    run(task)
    print(f"seconds {time.perf_counter() - start:.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
