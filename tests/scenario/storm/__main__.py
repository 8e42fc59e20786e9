"""``python -m tests.scenario.storm ROUNDS [SEED]``: rounds of the storm, a line each; exit code 1 if one went wrong."""

from __future__ import annotations

import sys
from collections import Counter

from tests.scenario.storm.storm import run_round


def main(arguments: list[str]) -> int:
    """Run the rounds and return the exit code."""
    rounds, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    blows: Counter[str] = Counter()
    wrong = 0
    for number in range(seed, seed + rounds):
        told = run_round(number)
        print(told, flush=True)
        blows.update(told.blows)
        wrong += bool(told.verdict.faults)
    killed = ", ".join(f"{name} {count}" for name, count in sorted(blows.items()))
    print(f"{rounds} rounds, killed: {killed}; {wrong} rounds went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
