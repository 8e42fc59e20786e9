"""The end of a run, however it came: the ending is noted, everything is delivered, and the answer is given."""

from __future__ import annotations

import asyncio
import errno
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from handler.answer import Finished, answer
from handler.drain import Drained, drain, newest_word
from handler.links import links_to
from shared.contract.session import Phase
from shared.errors import ErrorCode
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from handler.book import Book
    from handler.ending import Verdict
    from handler.watch import StopRequest
    from handler.workshop import Workshop

_BEAT_SECONDS = 5.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = EventLog("handler")


async def close(
    book: Book,
    workshop: Workshop,
    verdict: Verdict,
    tail: tuple[str, ...],
    seconds: float,
    stop: StopRequest,
    most_seconds: float | None = None,
) -> dict[str, Any]:
    """Deliver what the run wrote and return its answer.

    ``tail`` is the end of the log, ``seconds`` how long the job took, ``most_seconds`` how long the drain may take in
    all; None: as long as anything moves. A run that has been delivered with this ending already is only answered for.
    """
    delivered = _delivered(book, verdict)
    book.session = book.session.model_copy(update={"ending": verdict.ending, "warnings": verdict.notes})
    workshop.reporter.end()
    await _make_sure_that_it_is_heard(book, verdict)
    drained = delivered or await drain(book, workshop.settings, workshop.clock, stop, most_seconds)
    session, receipt = book.session, drained.receipt
    named = (*receipt.checkpoints[-1:], *receipt.samples) if receipt else ()
    links = await links_to(named, session.session_id, session.bucket, session.link_seconds, workshop, stop)
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
            links=links,
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


def _delivered(book: Book, verdict: Verdict) -> Drained | None:
    """Return what there is to say of a run that needs no drain: refused, another's by now, or answered already."""
    upload = newest_word(book.folder, book.session.attempt)
    if book.lost:
        return Drained(None, upload)
    if upload is None:
        return None
    if upload.refused is not None:
        return Drained(None, upload)
    asked, receipt = book.session.drain, upload.receipt
    if asked is None or receipt is None or receipt.token != asked.token or book.session.ending != verdict.ending:
        return None
    return Drained(receipt, upload)


async def _make_sure_that_it_is_heard(book: Book, verdict: Verdict) -> None:
    """Write the ending down. On a full disk the inputs go, which nobody needs any more: else nobody hears of it."""
    book.write()
    # By now they may be the inputs of another worker's training.
    if not book.lost and _is_disk_full(book, verdict):
        log.warning("inputs_deleted", session=book.session.session_id)
        await asyncio.to_thread(shutil.rmtree, book.folder.dataset, ignore_errors=True)


def _is_disk_full(book: Book, verdict: Verdict) -> bool:
    """Return whether room helps: a volume that refuses for another reason does not say either whose the run is."""
    if book.refused is not None:
        return book.refused.errno in _FULL
    return verdict.ending.error_code is ErrorCode.DISK_FULL
