"""Sends every training of a folder to one endpoint, whose workers share them, and follows them all to their ends.

    python -m examples.batch trainings --endpoint abc123 --to results

What has been sent is written down in the folder: the same command goes on where it was, and sends nothing twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from examples.client.board import Board
from examples.client.book import NAME, Book
from examples.client.endpoint import EndpointError, Trouble
from examples.client.member import Due, Member
from examples.client.request import SUFFIXES, Folders, read_request
from examples.client.results import Results, fetch_quietly
from examples.client.training import End, How
from examples.submit import LOOK_SECONDS, add_common, bucket, code_of, endpoint_of
from shared.clock import Deadline, SystemClock
from shared.errors import ErrorCode, FerryError
from shared.lock import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from examples.client.book import Sent
    from examples.client.request import Request

_UNDONE = frozenset({How.FAILED, How.INTERRUPTED, How.CANCELLED})


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m examples.batch``."""
    found = argparse.ArgumentParser(
        prog="python -m examples.batch",
        description="Send every training of a folder to one endpoint, and follow them all to their ends.",
        epilog=f"What has been sent stands in {NAME} in the folder: the same command goes on from there. Exit codes: 0 "
        "all have finished, and were fetched if so wished; 1 some have not, and they are listed; 2 wrong usage or "
        "settings; 3 not now: the endpoint cannot be reached; 130 left by Ctrl-C: the trainings go on.",
    )
    add_common(found)
    found.add_argument(
        "folder", type=Path, metavar="FOLDER", help="requests (*.json) and configurations (*.yaml, *.yml)"
    )
    found.add_argument("--to", type=Path, metavar="FOLDER", help="fetch the results here, into a folder for each")
    found.add_argument("--retry", action="store_true", help="send once more those that have failed")
    found.add_argument("--unsure", action="store_true", help="send once more those of which nobody knows")
    found.add_argument("--cancel", action="store_true", help="cancel those that go on, and send nothing")
    return found


def main(arguments: Sequence[str]) -> int:
    """Send, follow and fetch; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        requests = read_requests(options.folder, Folders(options.dataset, options.results))
        with _alone(options.folder.resolve()):
            return _run(options, requests)
    except (FerryError, EndpointError) as error:
        print(f"batch: {error.sentence}", file=sys.stderr)
        return code_of(error)
    except OSError as error:
        print(f"batch: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("batch: left; the trainings go on, and the same command follows them again.", file=sys.stderr, flush=True)
        # A fetch that is under way goes on at the next call.
        os._exit(130)


def _run(options: argparse.Namespace, requests: Sequence[Request]) -> int:
    clock, storage, endpoint = SystemClock(), bucket(needed=options.to is not None), endpoint_of(options)
    book = Book(options.folder)
    members = [
        Member(request, book, endpoint, Results(storage, request), clock, again=options.again) for request in requests
    ]
    # One after the other: each takes the whole line.
    fetching = ThreadPoolExecutor(1, thread_name_prefix="fetch")
    batch = Batch(members, Board(), options.to, wait=threading.Event().wait, fetching=fetching)
    batch.mention(book.without(requests))
    return batch.cancel() if options.cancel else batch.run(retry=options.retry, unsure=options.unsure)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second batch of the same folder away: it would send everything twice."""
    with alone("batch", [folder], Deadline(SystemClock(), 0), lambda _seconds: True, lambda _folder: None) as free:
        if not free:
            raise FerryError(ErrorCode.BUSY, f"Another batch works on {folder}: wait for its end, or end it.")
        yield


def read_requests(folder: Path, folders: Folders) -> list[Request]:
    """Return what is to be trained, by name. Raises FerryError where there is nothing, or two would meet."""
    if not folder.is_dir():
        raise FerryError(ErrorCode.INVALID_INPUT, f"{folder} is no folder.")
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    requests = [read_request(path, folders) for path in paths if path.is_file()]
    if not requests:
        raise FerryError(ErrorCode.INVALID_INPUT, f"{folder} holds no trainings: no *.json, *.yaml or *.yml.")
    _check_that_none_meet(requests, lambda request: request.place, "both go to")
    _check_that_none_meet(requests, lambda request: Path(request.name).stem, "are both called")
    return requests


def _check_that_none_meet(requests: Sequence[Request], where: Callable[[Request], str], how: str) -> None:
    seen: dict[str, str] = {}
    for request in requests:
        other = seen.setdefault(where(request), request.name)
        if other != request.name:
            sentence = f"{other} and {request.name} {how} {where(request)}: give them different names."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence)


class Batch:
    """All trainings of a folder. ``wait`` sleeps for seconds, and ``fetching`` fetches beside all else."""

    def __init__(
        self,
        members: Sequence[Member],
        board: Board,
        folder: Path | None,
        *,
        wait: Callable[[float], object],
        fetching: Executor,
    ) -> None:
        self._members = members
        self._board = board
        self._folder = folder
        self._wait = wait
        self._fetching = fetching
        self._tries: set[str] = set()
        self._fetches: dict[str, Future[tuple[int, str]]] = {}

    def mention(self, gone: Sequence[Sent]) -> None:
        """Tell of jobs that go on although no file tells of them any more."""
        for sent in gone:
            job = sent.jobs[-1] if sent.jobs else "of which nobody knows"
            self._board.say(f"{sent.name} was deleted or changed; its job {job} is not followed, and may go on.")

    def run(self, *, retry: bool, unsure: bool) -> int:
        """Return the exit code, when all have come to their ends. Raises EndpointError where nothing can be sent."""
        for member in self._members:
            if unsure and member.due is Due.FINDING:
                member.look()
            if (unsure and member.due is Due.FINDING) or (retry and member.sent.how in _UNDONE):
                member.begin_anew()
        with self._board.following():
            self._send()
            while not self._look():
                self._wait(LOOK_SECONDS)
        return self._tell()

    def cancel(self) -> int:
        """Cancel what goes on; return the exit code."""
        left = 0
        for member in self._members:
            if member.due is Due.FOLLOWING:
                try:
                    member.cancel()
                except EndpointError as error:
                    self._board.say(f"{member.request.name}: {error.sentence}")
                    left += 1
        self._board.show(self._members)
        return 1 if left else 0

    def _send(self) -> None:
        for member in self._members:
            if member.due is Due.SENDING:
                self._tried(member, member.send)
                self._board.show(self._members)

    def _look(self) -> bool:
        """Look at every training that goes on; return whether none does any more, and all are fetched."""
        for member in self._members:
            if member.due in {Due.FOLLOWING, Due.FINDING}:
                self._tried(member, member.look)
        self._fetch()
        self._board.show(self._members)
        return not self._fetches and all(member.due is not Due.FOLLOWING for member in self._members)

    def _tried(self, member: Member, call: Callable[[], None]) -> None:
        """Make a call of which it is known what to do where it fails: wait, or leave it to a person."""
        try:
            call()
        except EndpointError as error:
            begun = any(each.due is Due.FOLLOWING for each in self._members)
            if error.trouble is not Trouble.UNSURE and not (begun and error.trouble is not Trouble.REFUSED):
                raise
            self._board.say(f"{member.request.name}: {error.sentence}")

    def _fetch(self) -> None:
        """Have fetched what has finished, and take note of what is there."""
        for member in self._members:
            name, sent = member.request.name, member.sent
            if self._folder is not None and sent.how is How.FINISHED and not sent.fetched and name not in self._tries:
                folder = self._folder / Path(name).stem
                self._tries.add(name)
                self._fetches[name] = self._fetching.submit(fetch_quietly, member.request, folder)
            elif name in self._fetches and self._fetches[name].done():
                code, said = self._fetches.pop(name).result()
                if code == 0:
                    member.fetched()
                else:
                    self._board.say(f"{name} could not be fetched: {said}")

    def _tell(self) -> int:
        """Tell how many have come to which end, and why those that have not finished; return the exit code."""
        undone = [member for member in self._members if member.sent.how is not How.FINISHED]
        for member in undone:
            seen = member.seen
            why = seen.sentence if isinstance(seen, End) else seen.trouble or seen.phase
            self._board.say(f"{member.request.name}: {why}")
        finished = len(self._members) - len(undone)
        unfetched = sum(not member.sent.fetched for member in self._members) - len(undone) if self._folder else 0
        note = f", {unfetched} of them could not be fetched whole" if unfetched else ""
        self._board.say(f"{finished} of {len(self._members)} trainings have finished{note}.")
        if any(member.sent.how in _UNDONE for member in undone):
            self._board.say("With --retry, those that have not are sent once more.")
        if any(member.due is Due.FINDING for member in undone):
            self._board.say("With --unsure, those of which nobody knows are sent once more.")
        return 1 if undone or unfetched else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
