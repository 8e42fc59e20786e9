"""One body on its way: passed on in portions, at the line's pace, with something happening at chosen bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from local.proxy.line import Pacer


class CutError(Exception):
    """The connection is to be cut here; ``reset``: by a RST instead of a close."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


@dataclass(frozen=True, slots=True)
class Mark:
    """What happens when so many bytes have been passed on."""

    at: int
    act: Callable[[], Awaitable[None]]


class Gate:
    """Passes blocks on by ``pass_on`` and calls what the marks say in between."""

    def __init__(
        self, marks: Iterable[Mark], paces: Sequence[Pacer], pass_on: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._marks = sorted(marks, key=lambda mark: mark.at, reverse=True)
        self._paces = paces
        self._pass_on = pass_on
        self._passed = 0

    async def open(self) -> None:
        """Do what is to be done before the first byte. Raises CutError."""
        await self._act()

    async def __call__(self, block: bytes) -> None:
        """Pass a block on. Raises CutError, and ConnectionError where it cannot be passed on."""
        while block:
            room = self._room(len(block))
            portion, block = block[:room], block[room:]
            for pace in self._paces:
                await pace(len(portion))
            await self._pass_on(portion)
            self._passed += len(portion)
            await self._act()

    def _room(self, wanted: int) -> int:
        """Return how many bytes go before something else is to be done."""
        mark = self._marks[-1].at - self._passed if self._marks else wanted
        return min(wanted, mark, *(pace.portion for pace in self._paces))

    async def _act(self) -> None:
        while self._marks and self._marks[-1].at <= self._passed:
            await self._marks.pop().act()
