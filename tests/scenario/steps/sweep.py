"""Every point at which an uploader can be struck, one after the other, or a few of them."""

from __future__ import annotations

import errno
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from tests.scenario.steps.exchanges import Cut, Moment
from tests.scenario.steps.passage import Passages, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    Mode = Callable[[Passages, int], Verdict]

# A point that no run comes to.
NEVER = 1 << 30
# No two runs take the very same steps, so that one which ends early does not prove that there is no further point.
_CALM_RUNS = 3


def _at_exchange(passages: Passages, point: int, moment: Moment) -> Verdict:
    return passages.at_exchange(Cut(point, moment))


MODES: dict[str, Mode] = {
    "kill": Passages.at_step,
    "eio": partial(Passages.at_step, error=errno.EIO),
    "enospc": partial(Passages.at_step, error=errno.ENOSPC),
    "before": partial(_at_exchange, moment=Moment.BEFORE),
    "during": partial(_at_exchange, moment=Moment.DURING),
    "after": partial(_at_exchange, moment=Moment.AFTER),
}


def sweep(passages: Passages, mode: Mode, first: int = 1, last: int | None = None) -> Iterator[tuple[int, Verdict]]:
    """Yield each point from ``first`` on with what came of its run, until runs no longer come to their point."""
    calm = 0
    for point in count(first):
        verdict = mode(passages, point)
        yield point, verdict
        calm = 0 if verdict.struck else calm + 1
        if calm == _CALM_RUNS or point == last:
            return


def sample(steps: list[str], size: int, chance: Random) -> list[int]:
    """Return ``size`` points: at least one step of each sort, if there are not too many, and others by chance."""
    sorts: dict[str, list[int]] = {}
    for point, step in enumerate(steps, 1):
        sorts.setdefault(step, []).append(point)
    chosen = [chance.choice(points) for points in sorts.values()]
    others = sorted(set(range(1, len(steps) + 1)) - set(chosen))
    chosen += chance.sample(others, max(0, min(len(others), size - len(chosen))))
    return chance.sample(chosen, min(size, len(chosen)))
