"""What went wrong in a training without ending it: noticed in the trainer's lines, counted, and told in a sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.contract.document import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_EXAMPLE = 200


class Remark(Record):
    """One kind of trouble: how many ``times`` it was seen, and what it was about at ``first``."""

    kind: str
    times: int = 1
    first: str = ""


# The group of a pattern is what the trouble is about.
_KINDS: dict[str, tuple[re.Pattern[str], str]] = {
    "skipped": (
        re.compile(r"^# OOM during training step, skipping batch"),
        "Batches were left out because the GPU's memory was full: {times}.",
    ),
    "not_a_number": (
        re.compile(r"^loss is nan$"),
        "Steps in which the loss was not a number taught nothing: {times}.",
    ),
    "optimizer_lost": (
        re.compile(r"^Failed to load optimizer state from "),
        "The optimizer's state could not be read, so the training went on with a fresh one.",
    ),
    "optimizer_unsaved": (
        re.compile(r"^Could not save optimizer$"),
        "Checkpoints were saved without the optimizer's state, and a resume begins with a fresh one there: {times}.",
    ),
    "unreadable": (
        re.compile(r"^Error processing (?:image|video): (.+)"),
        "Files of the dataset could not be read and were left out: {times}, such as {first}.",
    ),
    "replaced": (
        re.compile(r"^Error loading image, skipping and loading a different one: (.+?\.\w+)(?: \(|$)"),
        "Pictures could not be read, and others were trained on in their place: {times}, such as {first}.",
    ),
    "too_small": (
        re.compile(r"^ *-  Found ([1-9]\d*) images that are too small"),
        "Pictures of the dataset are too small and were left out: {first}.",
    ),
    "long_captions": (
        re.compile(
            r"^Token indices sequence length is longer than the specified maximum sequence length"
            r"|^The following part of your input was truncated because"
        ),
        "Captions or prompts are longer than the text encoder reads, and it does not see their ends.",
    ),
    "not_found": (
        re.compile(
            r"^(?:Pretrained lora path from config does not exist|Skipping validation item, image not found): (.+)"
        ),
        "A file was not found, and the training went on without it: {first}.",
    ),
    "not_compiled": (
        re.compile(r"^(?:Failed to compile model|WARNING: compile is disabled)"),
        "The model could not be compiled, so the training is slower than it could be.",
    ),
    "download_resumed": (
        re.compile(r"^Error while downloading from "),
        "Downloads of the trainer broke off and were taken up again: {times}.",
    ),
    "no_gpu": (
        re.compile(r"UserWarning: CUDA initialization: ([^.(]*[^.( ])"),
        "The trainer does not see the GPU ({first}) and works on the CPU.",
    ),
}
# The sentences of each kind, whatever stands in them.
_TOLD = tuple(re.compile(re.sub(r"\\\{\w+\\\}", ".*", re.escape(sentence))) for _, sentence in _KINDS.values())


def noticed(remarks: tuple[Remark, ...], line: str) -> tuple[Remark, ...]:
    """Return the remarks after one more line of the trainer's."""
    for kind, (pattern, _) in _KINDS.items():
        match = pattern.search(line)
        if match is not None:
            about = match.group(1) if pattern.groups else ""
            return _counted(remarks, kind, about[:_LONGEST_EXAMPLE])
    return remarks


def told(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """Return a sentence for each remark."""
    known = (remark for remark in remarks if remark.kind in _KINDS)
    return tuple(_KINDS[remark.kind][1].format(times=remark.times, first=remark.first) for remark in known)


def is_told(sentence: str) -> bool:
    """Return whether ``told`` would say this of some remark."""
    return any(pattern.fullmatch(sentence) for pattern in _TOLD)


def _counted(remarks: tuple[Remark, ...], kind: str, about: str) -> tuple[Remark, ...]:
    if all(remark.kind != kind for remark in remarks):
        return (*remarks, Remark(kind=kind, first=about))
    return tuple(
        remark.model_copy(update={"times": remark.times + 1}) if remark.kind == kind else remark for remark in remarks
    )
