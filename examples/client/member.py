"""One training of a batch: sent once, followed, and sent again when it was interrupted."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from examples.client.endpoint import EndpointError, Trouble
from examples.client.training import End, How, Standing, Training

if TYPE_CHECKING:
    from examples.client.book import Book, Sent
    from examples.client.endpoint import Endpoint
    from examples.client.request import Request
    from examples.client.results import Results
    from shared.clock import Clock

# The clocks of two machines may differ by so much.
_SKEW_SECONDS = 300.0
_UNSURE = "Nobody knows whether it was taken: see the endpoint's requests."


class Due(StrEnum):
    """What is to be done about a training, as the book has it. ``FINDING``: whether it was taken at all."""

    SENDING = "sending"
    FINDING = "finding"
    FOLLOWING = "following"
    NOTHING = "nothing"


class Member:
    """A training of the batch. ``seen`` is how it stands or how it ended, as far as it has been looked at."""

    def __init__(
        self, request: Request, book: Book, endpoint: Endpoint, results: Results, clock: Clock, *, again: int
    ) -> None:
        self.request = request
        self._book = book
        self._results = results
        self._clock = clock
        self._again = again
        self._training = Training(request, endpoint, results, clock, self.sent.jobs)
        self.seen = _remembered(self.sent)

    @property
    def sent(self) -> Sent:
        """Return what the book says."""
        return self._book.of(self.request)

    @property
    def due(self) -> Due:
        """Return what is to be done next."""
        sent = self.sent
        if sent.sending is not None:
            return Due.FINDING
        if sent.how is not None:
            return Due.NOTHING
        return Due.FOLLOWING if sent.jobs else Due.SENDING

    def send(self) -> None:
        """Send it, for the first time or again. Raises EndpointError; one that is ``UNSURE`` is not sent any more."""
        self._book.note(self.request, sending=self._clock.now())
        try:
            self._training.send()
        except EndpointError as error:
            if error.trouble is not Trouble.UNSURE:
                self._book.note(self.request, sending=None)
            self.seen = _remembered(self.sent)
            raise
        self._book.note(self.request, sending=None, jobs=self._training.jobs)
        self.seen = _remembered(self.sent)

    def look(self) -> None:
        """Find out how it stands, and send it again when it was interrupted.

        Raises EndpointError where it could not be sent, or the key is refused.
        """
        if self.due is Due.FINDING:
            self._find()
        if self.due is not Due.FOLLOWING:
            return
        self.seen = self._training.look()
        if not isinstance(self.seen, End):
            return
        if self.seen.how is How.INTERRUPTED and len(self._training.jobs) <= self._again:
            self.send()
        else:
            self._book.note(self.request, how=self.seen.how, sentence=self.seen.sentence)

    def cancel(self) -> None:
        """Cancel it. Raises EndpointError."""
        self._training.cancel()
        self.seen = End(How.CANCELLED, "The job was cancelled.")
        self._book.note(self.request, how=self.seen.how, sentence=self.seen.sentence)

    def begin_anew(self) -> None:
        """Let it be sent once more, although it has ended, or nobody knows whether it was taken."""
        self._book.note(self.request, jobs=(), sending=None, how=None, sentence=None, fetched=False)
        self._training.jobs = ()
        self.seen = _remembered(self.sent)

    def fetched(self) -> None:
        """Take note that its results are in their folder."""
        self._book.note(self.request, fetched=True)

    def _find(self) -> None:
        """See in the bucket whether a job of which no answer came has begun, and take it for ours if so."""
        since = (self.sent.sending or 0.0) - _SKEW_SECONDS
        status, manifest = self._results.status(), self._results.manifest()
        told = [(status.job_id, status.at)] if status else []
        told += [(manifest.job_id, manifest.created_at)] if manifest else []
        for job_id, at in told:
            if job_id is not None and job_id not in self.sent.jobs and at >= since:
                self._training.jobs = (*self.sent.jobs, job_id)
                self._book.note(self.request, sending=None, jobs=self._training.jobs)
                return


def _remembered(sent: Sent) -> Standing | End:
    """Return how a training stood when the book was written."""
    if sent.sending is not None:
        return Standing("unsure", trouble=_UNSURE)
    if sent.how is not None:
        return End(sent.how, sent.sentence or sent.how)
    return Standing("sent" if sent.jobs else "not sent yet")
