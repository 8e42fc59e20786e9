"""How busy the GPUs are, as ``nvidia-smi`` tells it; where it is missing or hangs, nothing is known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from shutil import which
from typing import TYPE_CHECKING

from shared.contract.document import Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

QUERY = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
# A wedged driver makes nvidia-smi hang for ever.
ANSWER_SECONDS = 10.0
_MIB = 1 << 20


class Gpu(Record):
    """One GPU: utilisation in percent and memory in bytes; None where the card does not tell (as with MIG)."""

    utilisation: int | None = None
    memory_used: int | None = None
    memory_total: int | None = None


def parse(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of nvidia-smi's CSV answer to ``QUERY``; lines of any other form are left out."""
    rows = ([_number(field) for field in line.split(",")] for line in text.splitlines())
    return tuple(
        Gpu(utilisation=row[0], memory_used=_bytes(row[1]), memory_total=_bytes(row[2]))
        for row in rows
        if len(row) == len(Gpu.model_fields)
    )


async def ask(program: str, arguments: Sequence[str] = QUERY, seconds: float = ANSWER_SECONDS) -> str:
    """Return what ``program`` prints, empty when it fails or has not answered within ``seconds``."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, RuntimeError):  # The latter where no thread can be started that waits for its end.
        return ""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        return ""
    finally:
        await _end(process)
    return output.decode(errors="replace") if process.returncode == 0 else ""


class GpuMeter:
    """Asks for the GPUs in the background, at most once at a time; ``gpus`` is the newest answer."""

    def __init__(self, ask: Callable[[str], Awaitable[str]] = ask, program: str | None = which("nvidia-smi")) -> None:
        self.gpus: tuple[Gpu, ...] = ()
        self._ask = ask
        self._program = program
        self._asking: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Start asking, unless the last question is still open or there is nobody to ask."""
        if self._program is not None and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._refresh(self._program))

    def busy(self) -> bool:
        """Return whether any GPU was at work when last asked."""
        return any(gpu.utilisation for gpu in self.gpus)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            # Whatever came of it is no word on the training.
            await asyncio.wait({self._asking})

    async def _refresh(self, program: str) -> None:
        self.gpus = parse(await self._ask(program))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        # Not even SIGKILL ends a process that hangs inside the driver.
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1)


def _number(field: str) -> int | None:
    try:
        return int(float(field))
    except ValueError:
        return None


def _bytes(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else mebibytes * _MIB
