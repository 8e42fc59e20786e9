"""The job that is run on the spot: the SDK's ``--test_input JSON``, or ``test_input.json`` in the working directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OPTION = "--test_input"
FILE = "test_input.json"
# RunPod gives this id to every job that is started by hand.
LOCAL_TEST = "local_test"


def is_local(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether the SDK will run one local job and end, instead of serving or polling a queue."""
    if "--rp_serve_api" in arguments or environ.get("RUNPOD_REALTIME_PORT", "0") != "0":
        return False
    return _given(arguments) is not None or "RUNPOD_WEBHOOK_GET_JOB" not in environ


def check_local_job(arguments: Sequence[str], folder: Path) -> None:
    """Raise FerryError where the SDK would show a traceback, or nothing at all. ``folder`` is the working directory."""
    given = _given(arguments)
    try:
        source, text = (OPTION, given) if given is not None else (FILE, (folder / FILE).read_text())
    except (OSError, ValueError):
        raise FerryError(
            ErrorCode.INVALID_INPUT,
            f"There is nothing to do: no queue (RUNPOD_WEBHOOK_GET_JOB), no {OPTION}, and no {FILE} in {folder}.",
        ) from None
    try:
        job = json.loads(text)
    except ValueError as error:
        raise FerryError(ErrorCode.INVALID_INPUT, f"{source} is no JSON: {error}.") from None
    if not isinstance(job, dict) or job.get("input") is None:
        raise FerryError(ErrorCode.INVALID_INPUT, f'{source} holds no job: it is {{"input": {{…}}}} as JSON.')


def _given(arguments: Sequence[str]) -> str | None:
    for index, argument in enumerate(arguments):
        name, has_value, value = argument.partition("=")
        if name == OPTION:
            return value if has_value else next(iter(arguments[index + 1 :]), "")
    return None
