"""What the handler says of a run's session, as it stands now. Of a watched folder nobody says anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.process import find, same_machine
from shared.contract.session import Outcome, Phase, Session
from shared.contract.upload import Upload
from uploader.observer import Circumstances, saved_by_path
from uploader.open_files import can_see
from uploader.run import answered_token, drain_token

if TYPE_CHECKING:
    from uploader.run import Run


class SessionView:
    """The session of ``run`` as the uploader of ``worker`` reads it. Methods raise OSError as the volume does."""

    def __init__(self, run: Run, worker: str) -> None:
        self._run = run
        self._worker = worker
        self._beat: int | None = None
        self.session: Session | None = None
        # It is carried because its own worker has fallen silent.
        self.adopted = run.worker not in {None, worker}

    def refresh(self) -> None:
        """Read ``session.json`` again; what cannot be understood leaves what was known."""
        if self._run.watched:
            return
        self.session = Session.read(self._run.session_file) or self.session
        if self._beat is None and self.session is not None:
            self._beat = self.session.beat

    @property
    def has_moved_on(self) -> bool:
        """Return whether the session is no longer what was taken up here.

        Another worker or another attempt goes on with it, or its own handler, which was thought dead, has moved.
        """
        session = self.session
        if session is None:
            return False
        if (session.worker, session.attempt) != (self._run.worker, self._run.attempt):
            return True
        return self.adopted and session.beat != self._beat

    @property
    def drain_token(self) -> str | None:
        """Return the token of the drain that is to be answered, if any."""
        return None if self.session is None else drain_token(self.session, self._worker)

    @property
    def is_answered(self) -> bool:
        """Return whether somebody, we ourselves or another worker's uploader, has answered that drain."""
        answered = answered_token(Upload.read(self._run.upload_file), self._run.attempt)
        return answered is not None and answered == self.drain_token

    @property
    def was_refused(self) -> bool:
        """Return whether the handler has heard that the prefix is another run's, and has closed the session."""
        return self.session is not None and was_refused(self.session)

    @property
    def has_trained(self) -> bool:
        """Return whether whatever the handler restores before a training has been restored."""
        if self.session is None:
            return self._run.watched
        return self.session.trainer is not None or self.drain_token is not None

    def circumstances(self) -> Circumstances:
        """Return what the run itself tells about its files."""
        session = self.session
        if session is None:
            return Circumstances()
        trainer, ending = session.trainer, session.ending
        return Circumstances(
            saved=saved_by_path(session.saved),
            visible=lambda: trainer is not None and find(trainer) is not None and can_see(trainer.pid),
            unjudged=lambda: trainer is not None and same_machine(trainer) and find(trainer) is None,
            ended=self.drain_token is not None and (trainer is None or find(trainer) is None),
            # A trainer that failed may have been in the middle of a file as well as one that was killed.
            by_itself=ending is not None and ending.outcome is Outcome.FINISHED and ending.by_itself,
        )


def was_refused(session: Session) -> bool:
    """Return whether the handler closed a session without a drain: its prefix was another run's, and stays so."""
    return session.phase is Phase.CLOSED and session.drain is None
