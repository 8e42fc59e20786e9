"""What all connections of a proxy share, and what may be changed while it runs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.proxy.exchange import Exchange
from local.proxy.faults import Faults
from local.proxy.gate import CutError
from local.proxy.line import Line
from local.proxy.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.proxy.exchange import Hook, Moment


@dataclass(slots=True)
class Rig:
    """The line, the faults, the counters, and who looks on. Any thread may change them."""

    line: Line = field(default_factory=Line)
    faults: Faults = field(default_factory=Faults)
    tally: Tally = field(default_factory=Tally)
    hook: Hook | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, method: str, path: str, length: int | None) -> Exchange:
        """Count a request that has come."""
        exchange = Exchange(next(self._numbers), method, path, length)
        self.tally.asked(exchange)
        return exchange

    def look(self, moment: Moment, exchange: Exchange) -> None:
        """Let whoever looks on see the exchange. Raises CutError where that is to be its end."""
        hook = self.hook
        if hook is not None and hook(moment, exchange):
            raise CutError(reset=False)
