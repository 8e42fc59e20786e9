"""Why a training failed, by the lines that it left: an error code and one sentence on what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.activity import Activity
from handler.bar import parse_bar
from handler.causes import CAUSES
from handler.config.vocabulary import VALUES, nearest
from handler.remarks import told
from handler.remedies import BROKEN_CHECKPOINT, BROKEN_MODEL, OUTPUT_SPACE, ROOM, SPACE, TRAINING_ROOM
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handler.causes import Cause
    from handler.progress import State

MAX_SENTENCE = 400
# Errors that end in no traceback (an abort inside CUDA, a crash) stand among the last lines.
_LAST_LINES = 20

_SAID = "Error running job:"
_TRACEBACK = "Traceback (most recent call last):"
_RESUMED_FROM = re.compile(r"^#### IMPORTANT RESUMING FROM (.+?) ####")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|NotFound|Timeout)(?::.*)?$")
# Groups of the causes' patterns that stand for others in their sentences.
_ALIASES = {"asked": "model", "missing": "file", "picture": "path"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What went wrong, for programs and for people."""

    code: ErrorCode
    sentence: str


def diagnose(lines: Sequence[str], state: State) -> Diagnosis | None:
    """Return why a trainer that left ``lines`` failed; None where they say nothing about it."""
    evidence = _evidence(lines)
    for cause in CAUSES:
        for line in evidence:
            match = cause.pattern.search(line)
            if match is not None:
                return Diagnosis(cause.code, _sentence(cause, match, lines, state))
    error = last_error(lines)
    if error is None:
        return None
    return _without_gpu(state) or Diagnosis(
        ErrorCode.TRAINING_FAILED, _bounded(f"The trainer failed while {doing(state)}: {error}")
    )


def says_that_it_failed(lines: Sequence[str]) -> bool:
    """Return whether a trainer that left ``lines`` said itself that it ended with an error."""
    return any(line.startswith(_SAID) for line in lines)


def last_error(lines: Sequence[str]) -> str | None:
    """Return the exception that ended the trainer, as ``SomeError: text``, or what it said itself; None without one."""
    traceback = [line for line in _evidence(lines) if _EXCEPTION.match(line)]
    if traceback:
        return traceback[-1]
    said = [line.removeprefix(_SAID).strip() for line in lines if line.startswith(_SAID)]
    return said[-1] or None if said else None


def doing(state: State) -> str:
    """Return what the trainer was at, as it stands behind «while»: with the step or the file, once there is one."""
    if state.activity is Activity.DOWNLOADING:
        return f"{state.activity} ({state.download})"
    return f"{state.activity} at step {state.progress.step}" if state.training else str(state.activity)


def _evidence(lines: Sequence[str]) -> Sequence[str]:
    """Return what was said from the error's beginning on; without a beginning, the last lines behind any bar.

    Without the frames of tracebacks, which show the source of many errors that did not happen.
    """
    said = [number for number, line in enumerate(lines) if line.startswith(_SAID)]
    tracebacks = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    first = said[-1:] or tracebacks[:1]
    evidence = lines[first[0] :] if first else _last_words(lines[-_LAST_LINES:])
    return [line for line in evidence if not line.startswith((" ", "\t"))]


def _last_words(lines: Sequence[str]) -> Sequence[str]:
    """Return what came after the last bar: what came before it was survived."""
    bars = [number for number, line in enumerate(lines) if parse_bar(line)]
    return lines[bars[-1] + 1 :] if bars else lines


def _sentence(cause: Cause, match: re.Match[str], lines: Sequence[str], state: State) -> str:
    groups = {_ALIASES.get(name, name): text for name, text in match.groupdict().items() if text is not None}
    words = {
        "doing": doing(state),
        "room": ROOM.get(state.activity, TRAINING_ROOM),
        "space": SPACE.get(state.activity, OUTPUT_SPACE),
        "broken": _broken(lines),
        "meant": nearest(groups.get("name", ""), VALUES),
    }
    return _bounded(cause.sentence.format(**words, **groups))


def _broken(lines: Sequence[str]) -> str:
    resumed = [found.group(1) for line in lines if (found := _RESUMED_FROM.match(line))]
    return BROKEN_CHECKPOINT.format(path=resumed[-1]) if resumed else BROKEN_MODEL


def _without_gpu(state: State) -> Diagnosis | None:
    """Return what is to be said of a trainer that saw no GPU and failed at something else."""
    blind = told(remark for remark in state.remarks if remark.kind == "no_gpu")
    if not blind:
        return None
    return Diagnosis(
        ErrorCode.GPU_UNUSABLE, _bounded(f"{blind[0]} Run the job again, on a worker with a newer driver.")
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_SENTENCE else f"{text[: MAX_SENTENCE - 1]}…"
