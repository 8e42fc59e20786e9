"""Why a training failed, by the lines that it left: an error code and one sentence on what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.contract.session import Phase
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handler.progress import State

MAX_SENTENCE = 400
# Errors that end in no traceback (an abort inside CUDA, a crash) stand among the last lines.
_LAST_LINES = 20

_BEGINNING = re.compile(r"^(Error running job: |Traceback \(most recent call last\):)")
_RESUMED_FROM = re.compile(r"^#### IMPORTANT RESUMING FROM (.+?) ####")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|NotFound|Timeout)(?::.*)?$")
_RUNNING_JOB = re.compile(r"^Error running job: (.+)$")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What went wrong, for programs and for people."""

    code: ErrorCode
    sentence: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """``sentence`` may use the pattern's groups by name, and ``{doing}``: what the trainer was at."""

    code: ErrorCode
    pattern: re.Pattern[str]
    sentence: str


def _rule(code: ErrorCode, pattern: str, sentence: str) -> _Rule:
    return _Rule(code, re.compile(pattern), sentence)


# The first that fits counts: what is special before what is general.
_RULES = (
    _rule(
        ErrorCode.DISK_FULL,
        r"No space left on device|\bos error 28\b|Disk quota exceeded|\bos error 122\b|unexpected pos \d+ vs \d+",
        "The disk was full while the trainer was {doing}: give the worker more disk space, or keep fewer checkpoints "
        "(save.max_step_saves_to_keep).",
    ),
    _rule(
        ErrorCode.HOST_OUT_OF_MEMORY,
        r"out of shared memory|insufficient shared memory|DataLoader worker .* killed by signal: Bus error",
        "The shared memory of the container was full while the trainer was {doing}: set num_workers to 0 for the "
        "dataset, or give the container a larger /dev/shm.",
    ),
    _rule(
        ErrorCode.HOST_OUT_OF_MEMORY,
        r"killed by signal: Killed|Cannot allocate memory|\bMemoryError\b|DefaultCPUAllocator",
        "The worker's memory was full while the trainer was {doing}: take a worker with more RAM, or set num_workers "
        "to 0 and cache latents to disk.",
    ),
    _rule(
        ErrorCode.GPU_OUT_OF_MEMORY,
        r"CUDA out of memory|OutOfMemoryError|OOM during training step|CUDA error: out of memory|ALLOC_FAILED",
        "The GPU's memory was full while the trainer was {doing}: lower batch_size or resolution, turn on "
        "gradient_checkpointing, quantize or low_vram, or take a GPU with more memory.",
    ),
    _rule(
        ErrorCode.MODEL_ACCESS,
        r"(?:gated repo|40[13] Client Error|Repository Not Found).*huggingface\.co/(?:api/models/)?"
        r"(?P<model>[\w.-]+/[\w.-]*\w)|Access to model (?P<restricted>\S+) is restricted"
        r"|^(?:OSError: )?(?P<unknown>\S+) is not a local folder and is not a valid model identifier",
        "Hugging Face does not give out the model {model}: accept its licence on its page, and set HF_TOKEN on the "
        "worker to a token that may read it.",
    ),
    _rule(
        ErrorCode.MODEL_ACCESS,
        r"gated repo|GatedRepoError|RepositoryNotFoundError|is not a valid model identifier|401 Client Error"
        r"|403 Client Error|403 Forbidden|Invalid (?:username or password|user token)",
        "Hugging Face does not give out a model that the configuration names: check its name, accept its licence on "
        "its page, and set HF_TOKEN on the worker to a token that may read it.",
    ),
    _rule(
        ErrorCode.DATASET_EMPTY,
        r"no images found in (?P<path>.+)",
        "The trainer found no images in {path}: check the dataset's folder and the types of its files.",
    ),
    _rule(
        ErrorCode.TRAINING_FAILED,
        r"MetadataIncompleteBuffer|Error while deserializing header|HeaderToo(?:Large|Small)|InvalidHeader",
        'The checkpoint {resumed} is broken: send the job with "resume": false to begin anew.',
    ),
    _rule(
        ErrorCode.TRAINING_FAILED,
        r"No such file or directory: '(?P<path>[^']+)'",
        "The trainer did not find {path}: check that path in the configuration.",
    ),
    _rule(
        ErrorCode.TRAINING_FAILED,
        r"No module named '(?P<module>[^']+)'",
        "The toolkit lacks the Python module {module}: set AI_TOOLKIT_PYTHON to the interpreter that ai-toolkit's "
        "requirements are installed for.",
    ),
    _rule(
        ErrorCode.TRAINING_FAILED,
        r"Found no NVIDIA driver|No CUDA GPUs are available|CUDA driver version is insufficient|no kernel image is",
        "The trainer cannot use the worker's GPU: take a worker whose GPU and driver suit the image's CUDA version.",
    ),
    _rule(
        ErrorCode.TRAINING_FAILED,
        r"Temporary failure in name resolution|Max retries exceeded|LocalEntryNotFoundError|Read timed out",
        "A download of the trainer failed while it was {doing}: check the worker's network and run the job again.",
    ),
)

_DOING = {
    Phase.STARTING: "starting",
    Phase.LOADING: "loading",
    Phase.TRAINING: "training",
    Phase.SAMPLING: "making samples",
    Phase.SAVING: "saving a checkpoint",
}


def diagnose(lines: Sequence[str], state: State) -> Diagnosis | None:
    """Return why a trainer that left ``lines`` failed; None where they say nothing about it."""
    evidence = _evidence(lines)
    for rule in _RULES:
        for line in evidence:
            match = rule.pattern.search(line)
            if match is not None:
                return Diagnosis(rule.code, _sentence(rule, match, lines, state))
    error = last_error(lines)
    if error is None:
        return None
    return Diagnosis(ErrorCode.TRAINING_FAILED, _bounded(f"The trainer failed while {doing(state)}: {error}"))


def last_error(lines: Sequence[str]) -> str | None:
    """Return the exception that ended the trainer, as ``SomeError: text``, or what it said itself; None without one."""
    traceback = [line for line in _evidence(lines) if _EXCEPTION.match(line)]
    if traceback:
        return traceback[-1]
    said = [match.group(1) for line in lines if (match := _RUNNING_JOB.match(line))]
    return said[-1] if said else None


def doing(state: State) -> str:
    """Return what the trainer was at, as it stands behind «while»: with the step, once there is one."""
    step = f" at step {state.progress.step}" if state.progress.total else ""
    return f"{_DOING.get(state.phase, 'at work')}{step}"


def _evidence(lines: Sequence[str]) -> Sequence[str]:
    """Return what was said from the error's beginning on; without a beginning, the last lines."""
    said = [number for number, line in enumerate(lines) if line.startswith("Error running job: ")]
    if said:
        return lines[said[-1] :]
    tracebacks = [number for number, line in enumerate(lines) if _BEGINNING.match(line)]
    return lines[tracebacks[0] :] if tracebacks else lines[-_LAST_LINES:]


def _sentence(rule: _Rule, match: re.Match[str], lines: Sequence[str], state: State) -> str:
    resumed = [found.group(1) for line in lines if (found := _RESUMED_FROM.match(line))]
    was = state.model_copy(update={"phase": state.out_of_memory}) if _is_gpu(rule) and state.out_of_memory else state
    groups = {name: text for name, text in match.groupdict().items() if text is not None}
    model = groups.get("model") or groups.get("restricted") or groups.get("unknown")
    words = {**groups, "model": model, "doing": doing(was), "resumed": resumed[-1] if resumed else "that the run loads"}
    return _bounded(rule.sentence.format(**words))


def _is_gpu(rule: _Rule) -> bool:
    return rule.code is ErrorCode.GPU_OUT_OF_MEMORY


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_SENTENCE else f"{text[: MAX_SENTENCE - 1]}…"
