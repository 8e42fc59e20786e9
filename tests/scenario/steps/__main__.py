"""``python -m tests.scenario.steps MODE [FIRST [LAST]]``: the sweep by hand, or one point of it again."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.scenario.steps.passage import Passages
from tests.scenario.steps.sweep import MODES, sweep


def main(mode: str, first: int = 1, last: int | None = None) -> int:
    """Print each point at which something went wrong, and how many points there were; return how many went wrong."""
    wrong = 0
    struck: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Passages(Path(folder)) as passages:
        for point, verdict in sweep(passages, MODES[mode], first, last):
            struck[verdict.struck or "-"] += 1
            if verdict.faults:
                wrong += 1
                print(f"{mode} {point}: {verdict.struck}: {'; '.join(verdict.faults)}\n{verdict.printed}", flush=True)
            if verdict.seconds > 5:
                print(f"{mode} {point}: {verdict.struck}: {verdict.seconds:.1f} s, {verdict.starts} starts", flush=True)
    for step, count in sorted(struck.items()):
        print(f"{count:6} {step}")
    print(f"{mode}: {struck.total() - struck['-']} points, {wrong} of them wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])) > 0)
