"""Sends one training to an endpoint, follows it to its end, and fetches what came of it.

    python -m examples.submit examples/jobs/flux1-dev.json --endpoint abc123 --to results

A lost connection is waited for; what was interrupted is sent again and goes on where it was; Ctrl-C asks what to do.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from examples.client.endpoint import RUNPOD, Endpoint, EndpointError, Trouble
from examples.client.request import Folders, read_request
from examples.client.results import Results, fetch, fetching_by_hand
from examples.client.screen import Screen
from examples.client.training import End, How, Training
from shared.clock import Deadline, SystemClock
from shared.errors import FerryError
from shared.settings import read_storage
from shared.storage.client import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.clock import Clock

LOOK_SECONDS = 3.0
# So long may a cancelled worker take to deliver what exists, and to write the manifest.
_CANCELLED_SECONDS = 90.0
_STORAGE_SECONDS = 15.0


class Wish(Enum):
    """What somebody who has pressed Ctrl-C wants."""

    CANCEL = auto()
    LEAVE = auto()
    WATCH = auto()


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m examples.submit``."""
    found = argparse.ArgumentParser(
        prog="python -m examples.submit",
        description="Send one training to an endpoint, follow it to its end, and fetch what came of it.",
        epilog="RUNPOD_API_KEY opens the endpoint. With SUPABASE_URL and SUPABASE_SERVICE_KEY the bucket is asked "
        "where RunPod has no answer, and the results can be fetched. Exit codes: 0 the training finished, and was "
        "fetched if so wished; 1 it failed or was cancelled, or something is missing; 2 wrong usage or settings; 3 not "
        "now: the endpoint cannot be reached, and nothing was sent; 130 left by Ctrl-C: the training goes on.",
    )
    add_common(found)
    found.add_argument("job", type=Path, metavar="JOB", help="a request (JSON) or an ai-toolkit configuration (YAML)")
    found.add_argument("--to", type=Path, metavar="FOLDER", help="fetch the results into this folder")
    found.add_argument("--follow", metavar="ID", help="follow this job, which was sent before, instead of sending one")
    return found


def add_common(found: argparse.ArgumentParser) -> None:
    """Add what says where jobs go and where configurations find their folders."""
    found.add_argument("--endpoint", required=True, help="the endpoint's id, or a whole address")
    found.add_argument("--dataset", metavar="BUCKET/FOLDER", help="where a YAML configuration's inputs lie")
    found.add_argument("--results", metavar="BUCKET/FOLDER", help="where a YAML configuration's results go")
    found.add_argument(
        "--again", type=int, default=3, metavar="N", help="send again what was interrupted, N times (default: 3)"
    )


def main(arguments: Sequence[str]) -> int:
    """Send, follow and fetch; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        request = read_request(options.job, Folders(options.dataset, options.results))
        storage = bucket(needed=options.to is not None)
        endpoint = endpoint_of(options)
        jobs = (options.follow,) if options.follow else ()
        clock, wait = SystemClock(), threading.Event().wait
        training = Training(request, endpoint, Results(storage, request), clock, jobs)
        return Submission(training, options, without_follow(arguments), clock=clock, wait=wait).run()
    except (FerryError, EndpointError) as error:
        print(f"submit: {error.sentence}", file=sys.stderr)
        return code_of(error)
    except KeyboardInterrupt:
        return 130


def without_follow(arguments: Sequence[str]) -> list[str]:
    """Return the command line without the job that it names."""
    kept = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    kept.add_argument("--follow")
    return kept.parse_known_args(arguments)[1]


def endpoint_of(options: argparse.Namespace) -> Endpoint:
    """Return the endpoint that the command line names. Raises EndpointError."""
    base = os.environ.get("RUNPOD_ENDPOINT_BASE_URL") or RUNPOD
    return Endpoint(options.endpoint, os.environ.get("RUNPOD_API_KEY") or None, base)


def code_of(error: FerryError | EndpointError) -> int:
    """Return the exit code of what was not even begun: wrong usage, not now, or nobody knows."""
    trouble = error.trouble if isinstance(error, EndpointError) else None
    return {Trouble.AWAY: 3, Trouble.BUSY: 3, Trouble.UNSURE: 1}.get(trouble, 2) if trouble else 2


def bucket(*, needed: bool) -> Storage | None:
    """Return Storage as the environment says; None where it says nothing and it is not ``needed``."""
    if not needed and not os.environ.get("SUPABASE_URL"):
        return None
    return Storage(read_storage(), timeout=_STORAGE_SECONDS)


class Submission:
    """One training from its sending to the exit code.

    ``wait`` sleeps for seconds; ``command`` are the arguments that this program was called with.
    """

    def __init__(
        self,
        training: Training,
        options: argparse.Namespace,
        command: Sequence[str],
        *,
        clock: Clock,
        wait: Callable[[float], object],
    ) -> None:
        self._training = training
        self._again: int = options.again
        self._folder: Path | None = options.to
        self._command = command
        self._clock = clock
        self._wait = wait
        self._screen = Screen()

    def run(self) -> int:
        """Return the exit code."""
        if not self._training.jobs:
            self._send()
        end: End | None = None
        while end is None:
            try:
                end = self._to_the_end()
            except KeyboardInterrupt:
                wish = self._asked()
                if wish is Wish.LEAVE:
                    return self._leave()
                end = self._cancelled() if wish is Wish.CANCEL else None
        return self._settle(end)

    def _send(self) -> None:
        job_id = self._training.send()
        again = len(self._training.jobs) > 1
        where = "it goes on where it was" if again else f"its results go to {self._training.request.place}"
        self._screen.say(f"Sent {'again as ' if again else ''}job {job_id}; {where}.")

    def _to_the_end(self) -> End:
        """Follow the job, and those that it is sent as again when it is interrupted, to an end that stays one."""
        while True:
            end = self._followed()
            if end.how is not How.INTERRUPTED or len(self._training.jobs) > self._again:
                return end
            self._screen.say(end.sentence)
            self._send()

    def _followed(self) -> End:
        with self._screen.following():
            while True:
                seen = self._training.look()
                if isinstance(seen, End):
                    return seen
                self._screen.show(seen)
                self._wait(LOOK_SECONDS)

    def _settle(self, end: End) -> int:
        """Tell the end, fetch what there is if that was wished, and return the exit code."""
        for warning in end.warnings:
            self._screen.warn(warning)
        self._screen.say(end.sentence if end.code is None else f"{end.sentence} ({end.code})")
        finished = end.how is How.FINISHED
        if self._folder is None or not (finished or self._training.has_manifest()):
            self._screen.say(f"Fetch what is there with: {fetching_by_hand(self._training.request)}")
            return 0 if finished else 1
        fetched = fetch(self._training.request, self._folder)
        return 0 if finished and fetched == 0 else 1

    # Ctrl-C

    def _asked(self) -> Wish:
        """Return what is to be done after a Ctrl-C; a second one, or nobody to ask, leaves the training alone."""
        if not _is_watched():
            return Wish.LEAVE
        try:
            wish = input("\nc cancels the training, l leaves it running, Enter goes on watching: ").strip().lower()
        except (KeyboardInterrupt, EOFError):
            return Wish.LEAVE
        return {"c": Wish.CANCEL, "l": Wish.LEAVE}.get(wish, Wish.WATCH)

    def _leave(self) -> int:
        command = shlex.join(("python", "-m", "examples.submit", *self._command, "--follow", self._training.job_id))
        self._screen.say(f"The training goes on. Follow it again with: {command}")
        return 130

    def _cancelled(self) -> End | None:
        """Cancel the job, and wait for what its worker still delivers; return None where it cannot be cancelled."""
        try:
            self._training.cancel()
        except EndpointError as error:
            self._screen.say(error.sentence)
            return None
        self._screen.say("Cancelled; for a minute at most, the worker delivers what exists.")
        deadline = Deadline(self._clock, _CANCELLED_SECONDS)
        while self._training.is_visible and not self._training.has_manifest() and not deadline.passed():
            self._wait(LOOK_SECONDS)
        return End(How.CANCELLED, "The job was cancelled.")


def _is_watched() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
