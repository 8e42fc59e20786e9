"""How a training ended, judged by more than its exit code: what it said, what it wrote, and who ended it.

ai-toolkit exits with 0 when it is interrupted, so 0 proves nothing: a finished training has a final checkpoint that is
new against what was there before the start. Jobs that make no checkpoint are judged by whether they wrote anything.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.diagnose import Diagnosis, diagnose, doing
from handler.progress import HALVES, VARIANTS
from handler.watch import Stop
from shared import folders
from shared.contract.session import Ending, Outcome
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from handler.inventory import Inventory
    from handler.progress import State
    from handler.watch import Watched

_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# The folder of a VAE has no file that completes it.
_VAE_FOLDER = "_diffusers"
_WITHOUT_CHECKPOINT = frozenset({"generate", "extract", "mod", "merge"})
_PROCESSES_WITHOUT_CHECKPOINT = ("_generator", "_img2img", "Captioner", "_tagger", "dataset_tools", "sync_from_")
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


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run is to leave: files named after the job, or after an embedding's trigger; or just anything."""

    name: str
    trigger: str | None = None
    checkpoint: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ending, and what a person should know beside it."""

    ending: Ending
    notes: tuple[str, ...] = ()


def expected(config: Mapping[str, Any], name: str) -> Expected:
    """Return what the job of a configuration (as parsed) is to leave behind."""
    section = config.get("config")
    processes = section.get("process") if isinstance(section, dict) else None
    kinds = [process for process in processes or () if isinstance(process, dict)] if isinstance(processes, list) else []
    types = [str(process.get("type", "")) for process in kinds]
    embeddings = [process["embedding"] for process in kinds if isinstance(process.get("embedding"), dict)]
    triggers = [str(embedding["trigger"]) for embedding in embeddings if embedding.get("trigger")]
    without = bool(types) and all(any(mark in kind for mark in _PROCESSES_WITHOUT_CHECKPOINT) for kind in types)
    return Expected(
        name=name,
        trigger=triggers[0] if triggers else None,
        checkpoint=not without and config.get("job") not in _WITHOUT_CHECKPOINT,
    )


def judge(watched: Watched, before: Inventory, after: Inventory, expected: Expected, at: float) -> Verdict:
    """Return how the training ended at ``at`` (Unix seconds), given what was in the output before and after."""
    state = watched.state
    written = before.changed(after)
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


def made_what_it_should(written: Iterable[str], expected: Expected) -> bool:
    """Return whether the files ``written`` by a run include what it was to leave at its end."""
    if not expected.checkpoint:
        return any(_is_product(PurePosixPath(path)) for path in written)
    paths = [PurePosixPath(path) for path in written]
    stems = {expected.name + variant for variant in VARIANTS} | ({expected.trigger} if expected.trigger else set())
    if any(_is_final_file(path, stems) or _is_in_final_folder(path, stems) for path in paths):
        return True
    halves = {half for path in paths for half in HALVES if path.stem.endswith(half)}
    final = {half for path in paths for half in HALVES if path.stem == expected.name + half}
    return bool(final) and final == halves


def _is_final_file(path: PurePosixPath, stems: Iterable[str]) -> bool:
    return path.suffix in _SUFFIXES and path.name.removesuffix(path.suffix) in stems


def _is_in_final_folder(path: PurePosixPath, stems: Iterable[str]) -> bool:
    # The first component is the run's own folder, which has the job's name as well.
    around = set(path.parts[1:-1])
    if path.name == folders.LAST:
        return not around.isdisjoint(stems)
    return path.suffix in _SUFFIXES and not around.isdisjoint(stem + _VAE_FOLDER for stem in stems)


def _is_product(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.parts[0] != "logs" and path.name != "config.yaml"


def _finished(watched: Watched, at: float, notes: tuple[str, ...] = ()) -> Verdict:
    if watched.state.nan_since is not None:
        return _failed(_nan(watched.state.nan_since), watched, at, notes)
    ending = Ending(outcome=Outcome.FINISHED, by_itself=True, at=at)
    return Verdict(ending, (*notes, *_notes(watched.state)))


def _ended_by_us(stop: Stop, state: State, at: float) -> Verdict:
    outcome, code, sentence = _STOPS[stop]
    error = sentence.format(doing=doing(state))
    return Verdict(Ending(outcome=outcome, by_itself=False, error_code=code, error=error, at=at))


def _interrupted(sentence: str, at: float, notes: tuple[str, ...] = ()) -> Verdict:
    code = ErrorCode.INTERRUPTED
    return Verdict(Ending(outcome=Outcome.INTERRUPTED, by_itself=False, error_code=code, error=sentence, at=at), notes)


def _failed(diagnosis: Diagnosis, watched: Watched, at: float, notes: tuple[str, ...] = ()) -> Verdict:
    by_itself = watched.exit_code is not None and 0 <= watched.exit_code < _BY_SIGNAL
    code, error = diagnosis.code, diagnosis.sentence
    ending = Ending(outcome=Outcome.FAILED, by_itself=by_itself, error_code=code, error=error, at=at)
    return Verdict(ending, (*notes, *_notes(watched.state)))


def _unseen(watched: Watched, *, made: bool, at: float) -> Verdict:
    notes = ("Nobody saw how the trainer exited (its launcher was killed): this is judged by what is on the disk.",)
    if made:
        return _finished(watched, at, notes)
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
    sentence = (
        f"The worker's memory was full while the trainer was {doing(watched.state)}, and the system killed it: take a "
        "worker with more RAM, or set num_workers to 0 and cache latents to disk."
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


def _notes(state: State) -> tuple[str, ...]:
    if not state.skipped:
        return ()
    return (f"{state.skipped} batches were left out because the GPU's memory was full.",)
