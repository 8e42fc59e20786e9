"""A worker that is starting loads what it needs to be ready, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = {"handler.pipeline", "handler.reception", "handler.recovery", "yaml", "tenacity", "runpod"}
_OF_A_COMMAND_LINE = {"click", "rich", "pygments"}


def loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_a_worker_is_ready_without_what_only_a_job_needs() -> None:
    assert not loaded("handler.worker") & (_HEAVY | _OF_A_COMMAND_LINE)
    assert loaded("handler.reception") >= _HEAVY - {"handler.recovery", "runpod"}


@pytest.mark.parametrize("module", ["shared.storage.client", "handler.reception", "uploader.daemon"])
def test_nobody_loads_the_command_line_of_the_http_library(module: str) -> None:
    assert not loaded(module) & _OF_A_COMMAND_LINE
