"""Which lines a person wants to read in a log: every ordinary one, and of progress bars only now and then a drawing.

What is shown depends on nothing but the lines themselves (a bar tells its own time), so a handler that reads the same
output again writes the same log again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from handler.bar import Bar, parse_bar
from shared.contract.document import Record

if TYPE_CHECKING:
    from handler.console import Line

# As often as a growing log is published at its best; a day of training makes some thousand lines.
BAR_SECONDS = 15.0
BAR_FRACTION = 0.05
# Downloads have a bar for each file.
_MAX_BARS = 16


class Drawn(Record):
    """A bar as it was last shown (seconds, 0 to 1), and a newer drawing that was held back."""

    elapsed: float
    fraction: float
    held: str | None = None


class Thinning(Record):
    """What must be remembered between two lines."""

    bars: dict[str, Drawn] = Field(default_factory=dict)
    blank: bool = True


def thin(memory: Thinning, line: Line) -> tuple[Thinning, tuple[str, ...]]:
    """Return the new memory and the lines to show now that ``line`` came.

    A drawing is shown when it is a bar's first, or 15 seconds or 5 % after the last; one that was held back is shown
    when an ordinary line follows, so that the log says how far the bar had come by then.
    """
    bar = parse_bar(line.text)
    if bar is not None:
        return _draw(memory, bar, line.text)
    if line.redraw:
        return _remember(memory, "", Drawn(elapsed=0, fraction=0, held=line.text)), ()
    if not line.text:
        return memory.model_copy(update={"blank": True}), () if memory.blank else ("",)
    memory, held = flush(memory)
    return memory.model_copy(update={"blank": False}), (*held, line.text)


def flush(memory: Thinning) -> tuple[Thinning, tuple[str, ...]]:
    """Return the drawings that were held back, to be shown at the end or before another line."""
    held = tuple(drawn.held for drawn in memory.bars.values() if drawn.held is not None)
    if not held:
        return memory, ()
    bars = {name: drawn.model_copy(update={"held": None}) for name, drawn in memory.bars.items()}
    return Thinning(bars=bars, blank=False), held


def _draw(memory: Thinning, bar: Bar, text: str) -> tuple[Thinning, tuple[str, ...]]:
    last = memory.bars.get(bar.name)
    if last is None or _worth_showing(last, bar):
        drawn = Drawn(elapsed=bar.elapsed, fraction=bar.fraction)
        return _remember(memory, bar.name, drawn).model_copy(update={"blank": False}), (text,)
    return _remember(memory, bar.name, last.model_copy(update={"held": text})), ()


def _worth_showing(last: Drawn, bar: Bar) -> bool:
    if bar.elapsed < last.elapsed or bar.fraction < last.fraction:
        return True  # The next bar of that name.
    return bar.elapsed - last.elapsed >= BAR_SECONDS or bar.fraction - last.fraction >= BAR_FRACTION


def _remember(memory: Thinning, name: str, drawn: Drawn) -> Thinning:
    bars = {**memory.bars, name: drawn}
    if len(bars) > _MAX_BARS:
        del bars[next(iter(bars))]
    return memory.model_copy(update={"bars": bars})
