"""An endpoint through RunPod's SDK: jobs are sent, looked at and cancelled.

``python -m handler --rp_serve_api`` serves the same calls on one's own machine, with one difference: a job runs there
while somebody asks for its status by POST, and RunPod's GET is not allowed. Where that is so, the question is asked in
a thread of its own; asked once more, the worker joins both questions to one answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

RUNPOD = "https://api.runpod.ai/v2"
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
# RunPod lets a job run for so long at most.
_LONGEST_SECONDS = 7 * 86_400
# What the local server says, with status 200, of a job that it has forgotten.
_FORGOTTEN = "Job ID not found"
_NO_ENDPOINT = "there is no such endpoint"


class Trouble(StrEnum):
    """What is wrong, as far as it makes a difference to what one does next."""

    AWAY = "away"
    BUSY = "busy"
    UNSURE = "unsure"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_ALLOWED = "not_allowed"


class EndpointError(Exception):
    """A call that failed. ``sentence`` says what, where, and what to do.

    ``AWAY`` and ``BUSY`` pass by themselves. ``UNSURE``: a job may have been taken, although no answer came.
    """

    def __init__(self, trouble: Trouble, sentence: str) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as RunPod shows it. ``output`` is the newest progress while it runs, and the worker's answer at its end."""

    status: str
    output: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


class Endpoint:
    """An endpoint by its id, or by a whole address. Raises EndpointError where there is no key for RunPod.

    ``base`` is where ids are looked for.
    """

    def __init__(self, name: str, key: str | None, base: str = RUNPOD) -> None:
        self.address = name.rstrip("/") if "://" in name else f"{base.rstrip('/')}/{name}"
        if key is None and self.address.startswith(RUNPOD):
            raise EndpointError(Trouble.REFUSED, "RUNPOD_API_KEY is not set: set it to a key of your RunPod account.")
        self._base, _, self._id = self.address.rpartition("/")
        self._key = key or "none"
        self._client = self._connected()
        self._asked: dict[str, Future[Mapping[str, Any]]] = {}

    def send(self, body: Mapping[str, Any]) -> str:
        """Send a job, and return its id. Raises EndpointError; none has been taken unless it is ``UNSURE``."""
        self.reach()
        what = f"Sending the job to {self.address}"
        try:
            answer = self._told(what, lambda: self._client.post(f"{self._id}/run", dict(body)), _NO_ENDPOINT)
        except EndpointError as error:
            if error.trouble is not Trouble.AWAY:
                raise
            sentence = f"{error.sentence} Perhaps it was taken: see the endpoint's requests before you send it again."
            raise EndpointError(Trouble.UNSURE, sentence) from error
        if not isinstance(answer.get("id"), str):
            raise EndpointError(Trouble.REFUSED, f"{what} failed: the answer names no id. Is it an endpoint's address?")
        return str(answer["id"])

    def reach(self) -> None:
        """Return when the endpoint answers and takes the key. Raises EndpointError."""
        try:
            self._told(f"Reaching {self.address}", lambda: self._client.get(f"{self._id}/health"))
        except EndpointError as error:
            # Not every server has this call; one that answers is there.
            if error.trouble not in {Trouble.UNKNOWN, Trouble.NOT_ALLOWED}:
                raise

    def look(self, job_id: str) -> JobState:
        """Return how a job stands. Raises EndpointError; ``UNKNOWN`` for one that RunPod knows no more."""
        what = f"Asking for job {job_id}"
        try:
            return _state(self._told(what, lambda: self._client.get(f"{self._id}/status/{job_id}")), what)
        except EndpointError as error:
            if error.trouble is not Trouble.NOT_ALLOWED:
                raise
        return self._served(job_id, what)

    def cancel(self, job_id: str) -> None:
        """Cancel a job. Raises EndpointError; ``UNKNOWN`` where it is over, or the server knows no cancelling."""
        what, none = f"Cancelling job {job_id}", "it is over, or this server, such as the local one, cancels nothing"
        self._told(what, lambda: self._client.post(f"{self._id}/cancel/{job_id}", {}), none)

    def _served(self, job_id: str, what: str) -> JobState:
        """Have the local server run the job, if it is not being run, and return how it stands."""
        if job_id not in self._asked:
            self._asked[job_id] = _in_thread(lambda: self._told(what, lambda: self._ask_to_the_end(job_id)))
        elif self._asked[job_id].done():
            return _state(self._asked.pop(job_id).result(), what)
        return JobState("IN_PROGRESS")

    def _ask_to_the_end(self, job_id: str) -> Any:
        # A session belongs to one thread.
        return self._connected().post(f"{self._id}/status/{job_id}", {}, timeout=_LONGEST_SECONDS)

    def _connected(self) -> Any:
        import runpod

        # The SDK turns every library's chatter on when it is imported.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        runpod.endpoint_url_base = self._base
        client = runpod.Endpoint(self._id, api_key=self._key).rp_client
        # Where the address is no https, the SDK would try a lost connection again for half a minute without a word.
        client.rp_session.mount("http://", requests.adapters.HTTPAdapter())
        return client

    def _told(
        self, what: str, call: Callable[[], Any], none: str = "there is no such job any more"
    ) -> Mapping[str, Any]:
        """Return a call's answer, a JSON object. Raises EndpointError; ``none`` is what a 404 means."""
        try:
            answer = call()
        except requests.HTTPError as error:
            status, text = (0, "") if error.response is None else (error.response.status_code, error.response.text)
            raise _refused(what, status, text, none) from error
        except requests.JSONDecodeError as error:
            raise EndpointError(Trouble.AWAY, f"{what} failed: the answer is not RunPod's.") from error
        except requests.RequestException as error:
            reason = "it does not answer in time" if isinstance(error, requests.Timeout) else "there is no connection"
            raise EndpointError(Trouble.AWAY, f"{what} failed: {reason}. Check the network and the address.") from error
        except RuntimeError as error:
            # What the SDK makes of a 401.
            raise _refused(what, 401, str(error), none) from error
        if not isinstance(answer, Mapping):
            raise EndpointError(Trouble.AWAY, f"{what} failed: the answer is not RunPod's.")
        return answer


def _refused(what: str, status: int, text: str, none: str) -> EndpointError:
    match status:
        case 401 | 403:
            return EndpointError(Trouble.REFUSED, f"{what} failed: the key is refused. Check RUNPOD_API_KEY.")
        case 404:
            return EndpointError(Trouble.UNKNOWN, f"{what} failed: {none}.")
        case 405:
            return EndpointError(Trouble.NOT_ALLOWED, f"{what} failed: this server takes no such call.")
        case 408 | 429:
            return EndpointError(Trouble.BUSY, f"{what} failed: RunPod asks to be asked less often.")
        case _ if status >= 500:
            return EndpointError(Trouble.AWAY, f"{what} failed: RunPod answers {status}.")
        case _:
            return EndpointError(
                Trouble.REFUSED, f"{what} failed: RunPod answers {status}, {' '.join(text.split())[:300]}"
            )


def _state(answer: Mapping[str, Any], what: str) -> JobState:
    output, error = answer.get("output"), answer.get("error")
    if error == _FORGOTTEN:
        raise EndpointError(Trouble.UNKNOWN, f"{what} failed: the server has forgotten it.")
    return JobState(
        status=str(answer.get("status")),
        output=output if isinstance(output, Mapping) else {},
        error=None if error is None else str(error),
    )


def _in_thread(call: Callable[[], Mapping[str, Any]]) -> Future[Mapping[str, Any]]:
    """Return what becomes of a call that may take days. Its thread does not keep this process from ending."""
    future: Future[Mapping[str, Any]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - whoever takes the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return future
