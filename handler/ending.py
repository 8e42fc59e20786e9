"""How a training ended, judged by more than its exit code: what it said, what it wrote, and who ended it.

ai-toolkit exits with 0 when it is interrupted, so 0 proves nothing: a finished training has a final checkpoint that is
new against what was there before the start. Jobs that make no checkpoint are judged by whether they wrote anything.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.activity import Activity
from handler.diagnose import Diagnosis, diagnose, doing, says_that_it_failed
from handler.expected import made_what_it_should
from handler.remarks import told
from handler.watch import Stop
from shared.contract.session import Ending, Outcome
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from handler.expected import Expected
    from handler.inventory import Inventory
    from handler.progress import State
    from handler.watch import Watched

# As a signal's number, and as a shell in between reports it. Until July 2026 ai-toolkit died of SIGINT.
_INTERRUPTED = frozenset({-signal.SIGINT, 128 + signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGTERM})
_KILLED = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
_BY_SIGNAL = 128

_AGAIN = "run the job again, and it goes on from its newest checkpoint."
_STOPS = {
    Stop.CANCELLED: (Outcome.CANCELLED, ErrorCode.CANCELLED, "The job was cancelled while the trainer was {doing}."),
    Stop.INTERRUPTED: (
        Outcome.INTERRUPTED,
        ErrorCode.INTERRUPTED,
        f"The worker was told to stop while the trainer was {{doing}}: {_AGAIN}",
    ),
    Stop.STALLED: (
        Outcome.FAILED,
        ErrorCode.STALLED,
        (
            "Nothing moved for TRAINING_STALL_SECONDS while the trainer was {doing} (no output, no use of CPU or GPU), "
            "so it was ended: run the job again, or raise the limit if such a pause is usual."
        ),
    ),
    Stop.SILENT: (
        Outcome.FAILED,
        ErrorCode.STALLED,
        (
            "The trainer printed nothing for hours while it was {doing} but kept CPU or GPU busy, as in a deadlock, "
            "so it was ended: run the job again, or raise TRAINING_STALL_SECONDS if such a silence is usual."
        ),
    ),
    Stop.TIMED_OUT: (
        Outcome.FAILED,
        ErrorCode.TIMED_OUT,
        (
            "The training reached TRAINING_MAX_SECONDS while the trainer was {doing} and was ended: raise the limit, "
            "or train fewer steps."
        ),
    ),
}
_STALLED_DOWNLOAD = (
    "Nothing moved for TRAINING_STALL_SECONDS while the trainer was {doing}, so it was ended: run the job again (with "
    "HF_HOME on a network volume the download goes on where it was); if it stalls again, set HF_HUB_DISABLE_XET=1 on "
    "the endpoint."
)
# What a key that was ignored may have caused.
_PERHAPS_OF_A_KEY = frozenset({ErrorCode.INVALID_CONFIG, ErrorCode.TRAINING_FAILED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ending, and what a person should know beside it."""

    ending: Ending
    notes: tuple[str, ...] = ()


def judge(
    watched: Watched, before: Inventory, after: Inventory, expected: Expected, at: float, strange: str | None = None
) -> Verdict:
    """Return how the training ended at ``at`` (Unix seconds), given what was in the output before and after.

    ``strange`` is the first key of its configuration that ai-toolkit does not know.
    """
    verdict = _judged(watched, before.changed(after), expected, at)
    ending, notes = verdict.ending, (*verdict.notes, *told(watched.state.remarks))
    if strange and ending.error_code in _PERHAPS_OF_A_KEY:
        ending = ending.model_copy(update={"error": f"{ending.error} ai-toolkit ignores {strange}."})
    return Verdict(ending, notes)


def _judged(watched: Watched, written: frozenset[str], expected: Expected, at: float) -> Verdict:
    state = watched.state
    made = made_what_it_should(written, expected)
    if watched.exit_code == 0 and made and not state.stopped:
        return _finished(watched, at)
    if watched.stopped is not None:
        return _ended_by_us(watched.stopped, state, at)
    if state.stopped or watched.exit_code in _INTERRUPTED:
        return _interrupted(
            f"The trainer was interrupted from outside while {doing(state)}: {_AGAIN}",
            at,
        )
    if watched.exit_code is None:
        return _unseen(watched, made=made and any(saved.path in written for saved in state.saved), at=at)
    if watched.exit_code in _KILLED:
        return _killed(watched, at)
    if watched.exit_code == 0:
        return _failed(_made_nothing(expected, written), watched, at)
    return _failed(_explained(watched) or _unexplained(watched.exit_code, state), watched, at)


def _finished(watched: Watched, at: float, notes: tuple[str, ...] = (), *, by_itself: bool = True) -> Verdict:
    if watched.state.nan_since is not None:
        return _failed(_nan(watched.state.nan_since), watched, at, notes)
    ending = Ending(outcome=Outcome.FINISHED, by_itself=by_itself, at=at)
    return Verdict(ending, notes)


def _ended_by_us(stop: Stop, state: State, at: float) -> Verdict:
    outcome, code, sentence = _STOPS[stop]
    if stop is Stop.STALLED and state.activity is Activity.DOWNLOADING:
        sentence = _STALLED_DOWNLOAD
    error = sentence.format(doing=doing(state))
    return Verdict(Ending(outcome=outcome, by_itself=False, error_code=code, error=error, at=at))


def _interrupted(sentence: str, at: float, notes: tuple[str, ...] = ()) -> Verdict:
    code = ErrorCode.INTERRUPTED
    return Verdict(Ending(outcome=Outcome.INTERRUPTED, by_itself=False, error_code=code, error=sentence, at=at), notes)


def _failed(diagnosis: Diagnosis, watched: Watched, at: float, notes: tuple[str, ...] = ()) -> Verdict:
    by_itself = watched.exit_code is not None and 0 <= watched.exit_code < _BY_SIGNAL
    code, error = diagnosis.code, diagnosis.sentence
    ending = Ending(outcome=Outcome.FAILED, by_itself=by_itself, error_code=code, error=error, at=at)
    return Verdict(ending, notes)


def _unseen(watched: Watched, *, made: bool, at: float) -> Verdict:
    how = "its launcher was killed, or could not write it down"
    notes = (f"Nobody saw how the trainer exited ({how}): this is judged by what is on the disk.",)
    if made and not says_that_it_failed(watched.tail):
        # It may have been killed in the middle of what it saves after its last checkpoint.
        return _finished(watched, at, notes, by_itself=False)
    diagnosis = _explained(watched)
    if diagnosis is not None:
        return _failed(diagnosis, watched, at, notes)
    sentence = f"The trainer is gone and left no exit code; it was {doing(watched.state)}: {_AGAIN}"
    return _interrupted(sentence, at, notes)


def _killed(watched: Watched, at: float) -> Verdict:
    if watched.oom_kills == 0:
        was = doing(watched.state)
        return _interrupted(
            f"The trainer was killed from outside (SIGKILL) while {was}: {_AGAIN}",
            at,
        )
    probably = "" if watched.oom_kills else "probably "
    sentence = (
        f"The worker's memory was {probably}full while the trainer was {doing(watched.state)}, and the system killed "
        "it: take a worker with more RAM, or set num_workers to 0 and cache latents to disk."
    )
    return _failed(Diagnosis(ErrorCode.HOST_OUT_OF_MEMORY, sentence), watched, at)


def _made_nothing(expected: Expected, written: frozenset[str]) -> Diagnosis:
    if not expected.checkpoint:
        return Diagnosis(ErrorCode.TRAINING_FAILED, "The job ended with exit code 0 but wrote nothing: see its log.")
    found = f"among {len(written)} new files" if written else "and no new file at all"
    return Diagnosis(
        ErrorCode.NO_CHECKPOINT,
        f"The trainer ended with exit code 0 but there is no new {expected.name}.safetensors {found}: see its log.",
    )


def _unexplained(code: int, state: State) -> Diagnosis:
    how = f"exit code {code}" if code >= 0 else _signal_name(-code)
    return Diagnosis(ErrorCode.TRAINING_FAILED, f"The trainer ended with {how} while {doing(state)}: see its log.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _explained(watched: Watched) -> Diagnosis | None:
    diagnosis = diagnose(watched.tail, watched.state)
    special = diagnosis is not None and diagnosis.code is not ErrorCode.TRAINING_FAILED
    since = watched.state.nan_since
    return diagnosis if special or since is None else _nan(since)


def _nan(since: int) -> Diagnosis:
    return Diagnosis(
        ErrorCode.NAN_LOSS,
        f"The loss is not a number since step {since}, and what was saved after it is of no use: lower the learning "
        "rate, or train with bf16 instead of fp16.",
    )
