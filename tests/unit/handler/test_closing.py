"""The end of a run: noted, delivered, answered, also on a disk that takes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from handler.book import Book
from handler.closing import beating, close
from handler.ending import Verdict
from handler.watch import Stop, StopRequest
from shared.contract.session import DrainRequest, Outcome, Phase, Session
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode
from shared.storage.errors import StorageError, Trouble
from tests.unit.handler.crew import Place, place
from tests.unit.handler.made import NOW, ending, folder, session
from tests.unit.handler.toolkits import until

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.session import Ending


@pytest.fixture
def made(tmp_path: Path) -> Place:
    return place(tmp_path)


def book_of(made: Place, **changes: object) -> Book:
    found = folder(made.root)
    known = session(found, **changes)
    known.write(found.session_file)
    return Book(found, known, made.workshop.clock)


def closed(made: Place, book: Book, how: Ending, most_seconds: float | None = None) -> dict[str, Any]:
    async def running() -> dict[str, Any]:
        async with made.uploader.at_work():
            return await close(
                book, made.workshop, Verdict(how, ("a note",)), ("end",), 1.0, StopRequest(), most_seconds
            )

    return asyncio.run(running())


def test_the_ending_is_noted_and_delivered(made: Place) -> None:
    book = book_of(made)
    answer = closed(made, book, ending())
    assert (answer["success"], answer["warnings"]) == (True, ["a note"])
    known = Session.read(book.folder.session_file)
    assert known is not None
    assert (known.phase, known.ending, known.warnings) == (Phase.CLOSED, ending(), ("a note",))


def delivered(made: Place, **changes: object) -> Book:
    """Return the book of a run whose delivery with this ending has been answered for."""
    asked = DrainRequest(token="asked", at=NOW)
    book = book_of(made, ending=ending(), drain=asked, phase=Phase.DRAINING, **changes)
    checkpoints, samples = ("run/cats/a", "run/cats/b"), ("run/cats/c",)
    receipt = DrainReceipt(token="asked", complete=True, checkpoints=checkpoints, samples=samples)
    Upload(worker="worker", receipt=receipt).write(book.folder.upload_file)
    return book


def test_links_are_signed_for_the_answer_where_they_were_asked_for(made: Place) -> None:
    assert "links" not in closed(made, delivered(made), ending())
    assert "signed_urls" not in made.storage.calls


def test_links_lead_to_the_last_checkpoint_and_the_last_samples(made: Place) -> None:
    before = made.workshop.clock.now()
    links = closed(made, delivered(made, link_seconds=60), ending())["links"]
    assert [(link["key"], link["url"]) for link in links] == [
        ("run/cats/b", "https://fake/outputs/run/cats/b?60"),
        ("run/cats/c", "https://fake/outputs/run/cats/c?60"),
    ]
    assert all(before + 60 <= link["expires_at"] <= before + 120 for link in links)


def test_an_answer_comes_without_links_when_storage_makes_none(made: Place, caplog: pytest.LogCaptureFixture) -> None:
    made.storage.error = StorageError(Trouble.BUSY, "Signing", "it is busy")
    assert "links" not in closed(made, delivered(made, link_seconds=60), ending())
    assert "answer_without_links" in caplog.text


def test_a_worker_that_is_told_to_stop_does_not_wait_for_links(made: Place) -> None:
    book = delivered(made, link_seconds=60)
    stop = StopRequest()
    stop.ask(Stop.INTERRUPTED)
    made.storage.held.add("signed_urls")
    answer = asyncio.run(close(book, made.workshop, Verdict(ending()), (), 1.0, stop))
    assert "links" not in answer
    assert "signed_urls" not in made.storage.calls


@pytest.mark.parametrize("how", [ending(), ending(Outcome.FAILED, ErrorCode.STALLED, "It hung.")])
def test_a_delivery_counts_for_the_ending_that_it_was_made_for(made: Place, how: Ending) -> None:
    book = book_of(made, ending=ending(), drain=DrainRequest(token="asked", at=NOW), phase=Phase.DRAINING)
    receipt = DrainReceipt(token="asked", complete=True)
    Upload(worker="worker", receipt=receipt).write(book.folder.upload_file)
    closed(made, book, how)
    assert book.session.drain is not None
    assert (book.session.drain.token == "asked") is (how == ending())


def test_on_a_full_disk_the_inputs_make_room_for_the_ending(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    book = book_of(made)
    (book.folder.dataset / "cats").mkdir(parents=True)
    write = Session.write

    def refusing(known: Session, path: Path) -> None:
        if book.folder.dataset.exists():
            raise OSError(28, "No space left on device")
        write(known, path)

    monkeypatch.setattr(Session, "write", refusing)
    assert closed(made, book, ending())["success"] is True
    assert not book.folder.dataset.exists()


def full_of_inputs(made: Place) -> Book:
    book = book_of(made)
    (book.folder.dataset / "cats").mkdir(parents=True)
    book.write()
    return book


@pytest.mark.guarantee("one-writer", fault="the volume refused for so long that another worker took the run over")
@pytest.mark.parametrize("how", [ending(), ending(Outcome.FAILED, ErrorCode.DISK_FULL, "The worker's disk is full.")])
def test_what_another_worker_has_staged_by_now_is_let_alone(
    made: Place, monkeypatch: pytest.MonkeyPatch, how: Ending
) -> None:
    book = full_of_inputs(made)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Session, "write", full)
        book.write()
    taken_over = book.session.handler.model_copy(update={"pid": 1})
    book.session.model_copy(update={"handler": taken_over, "worker": "other"}).write(book.folder.session_file)
    closed(made, book, how)
    assert book.lost
    assert book.refused is None
    assert book.folder.dataset.exists()


@pytest.mark.parametrize("how", [ending(), ending(Outcome.FAILED, ErrorCode.DISK_FULL, "The worker's disk is full.")])
def test_a_volume_that_only_stutters_costs_no_inputs(made: Place, monkeypatch: pytest.MonkeyPatch, how: Ending) -> None:
    book = full_of_inputs(made)
    write, stutters = Session.write, [OSError(errno.EIO, os.strerror(errno.EIO))]

    def stuttering(known: Session, path: Path) -> None:
        if stutters:
            raise stutters.pop()
        write(known, path)

    monkeypatch.setattr(Session, "write", stuttering)
    closed(made, book, how)
    assert book.folder.dataset.exists()


def test_the_beat_goes_on_while_the_block_lasts(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.closing._BEAT_SECONDS", 0.001)
    book = book_of(made)

    async def running() -> int:
        async with beating(book):
            await until(lambda: book.session.beat >= 3)
            beats = book.session.beat
        await asyncio.sleep(0)
        return book.session.beat - beats

    assert asyncio.run(running()) == 0
