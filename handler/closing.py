"""The end of a run, however it came: the ending is noted, everything is delivered, and the answer is given."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from handler.answer import Finished, answer
from handler.drain import Drained, drain
from shared.contract.session import Phase
from shared.contract.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from handler.book import Book
    from handler.ending import Verdict
    from handler.workshop import Workshop

# What RunPod leaves a worker after its SIGTERM is about ten seconds; the answer must be out by then.
INTERRUPTED_DRAIN_SECONDS = 6.0
_BEAT_SECONDS = 5.0


async def close(
    book: Book,
    workshop: Workshop,
    verdict: Verdict,
    tail: tuple[str, ...],
    seconds: float,
    most_seconds: float | None,
) -> dict[str, Any]:
    """Deliver what the run wrote and return its answer.

    ``tail`` is the end of the log, ``seconds`` how long the job took, ``most_seconds`` how long the drain may take in
    all; None: as long as anything moves.
    """
    book.session = book.session.model_copy(update={"ending": verdict.ending, "warnings": verdict.notes})
    workshop.reporter.end()
    drained = await _drain(book, workshop, most_seconds)
    await workshop.reporter.silence()
    book.enter(Phase.CLOSED)
    return answer(
        Finished(
            session=book.session,
            ending=verdict.ending,
            drained=drained,
            output_path=str(book.folder.output / book.session.name),
            tail=tail,
            seconds=seconds,
            warnings=verdict.notes,
        )
    )


@asynccontextmanager
async def beating(book: Book) -> AsyncIterator[None]:
    """Keep ``session.json`` fresh while the block lasts, so that everybody sees that the run is looked after."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            book.write()

    task = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        task.cancel()


async def _drain(book: Book, workshop: Workshop, most_seconds: float | None) -> Drained:
    upload = Upload.read(book.folder.upload_file)
    if upload is not None and upload.refused is not None:
        return Drained(None, upload)
    return await drain(book, workshop.settings, workshop.clock, most_seconds)
