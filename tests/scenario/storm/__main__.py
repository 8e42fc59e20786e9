"""``python -m tests.scenario.storm ROUNDS [SEED [AT_ONCE]]``: rounds of the storm, a line each.

Rounds mostly wait, and have nothing in common but the machine, so ``AT_ONCE`` of them run in processes side by side.
The exit code is 1 if one went wrong.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.scenario.storm.storm import run_round

# More than in the short form of the tests: whoever is up may be hit again and again.
MOST_BLOWS = 12


def main(rounds: int, seed: int = 1, at_once: int = 1) -> int:
    """Run the rounds and return the exit code."""
    blows: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    wrong = 0
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        for told in pool.map(partial(run_round, most_blows=MOST_BLOWS), range(seed, seed + rounds)):
            print(told, flush=True)
            blows.update(told.blows)
            faults.update({kind: len(lines) for kind, lines in told.verdict.kinds.items()})
            wrong += bool(told.verdict.faults)
    killed = ", ".join(f"{name} {count}" for name, count in sorted(blows.items()))
    counts = ", ".join(f"{kind} {count}" for kind, count in faults.items())
    print(f"{rounds} rounds, killed {blows.total()} times ({killed}): {counts}; {wrong} rounds went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
