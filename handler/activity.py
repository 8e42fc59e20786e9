"""What ai-toolkit is at, finer than the phase of a run: what would have to be smaller when its memory is full."""

from __future__ import annotations

import re
from enum import StrEnum

from shared.contract.session import Phase


class Activity(StrEnum):
    """One thing that the trainer does, in words that stand behind «while it was»."""

    STARTING = "starting"
    DOWNLOADING = "downloading a model"
    LOADING = "loading the model"
    QUANTIZING = "quantizing the model"
    READING = "reading the dataset"
    LATENTS = "caching latents"
    CAPTIONS = "encoding captions"
    BASELINE = "making the baseline samples"
    TRAINING = "training"
    SAMPLING = "making samples"
    SAVING = "saving a checkpoint"

    @property
    def phase(self) -> Phase:
        """Return the phase that this is a part of."""
        return _PHASES.get(self, Phase.LOADING)


_PHASES = {
    Activity.STARTING: Phase.STARTING,
    Activity.BASELINE: Phase.SAMPLING,
    Activity.TRAINING: Phase.TRAINING,
    Activity.SAMPLING: Phase.SAMPLING,
    Activity.SAVING: Phase.SAVING,
}
# Ordinary lines and the descriptions of bars, as version 0.12.26 words them. The first that fits counts.
_BEGINNINGS = (
    (re.compile(r"Caching (?:text.embeddings|embeddings)"), Activity.CAPTIONS),
    (re.compile(r"Caching "), Activity.LATENTS),
    (re.compile(r"Generating (?:baseline samples|first sample)"), Activity.BASELINE),
    (re.compile(r"(?: *- )?quantizing ", re.IGNORECASE), Activity.QUANTIZING),
    (re.compile(r"Dataset: "), Activity.READING),
    (re.compile(r"# Running job:|Loading |Moving |Preparing Model|Model Loaded"), Activity.LOADING),
)
# The bars of huggingface_hub: by the file's name with a rate in bytes, and its sums over several files.
_DOWNLOAD = re.compile(
    r"^(?:Fetching \d+ files|Downloading |Reconstructing )|: (?:downloading bytes|reconstructing file)|B/s[\],]"
)


def begun(text: str) -> Activity | None:
    """Return what begins with a line or a bar that says ``text``; None where it says nothing about it."""
    return next((activity for pattern, activity in _BEGINNINGS if pattern.match(text)), None)


def is_download(drawn: str) -> bool:
    """Return whether a drawn bar is that of a download."""
    return bool(_DOWNLOAD.search(drawn))
