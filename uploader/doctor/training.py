"""What a training needs of this machine: the toolkit, its interpreter, and a GPU with a driver that is new enough."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from shutil import which
from typing import TYPE_CHECKING

from shared.toolkit import check_toolkit
from uploader.doctor.checks import Check, doubtful, fine, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.settings import HandlerSettings
    from uploader.doctor.checks import Finding

    Run = Callable[[list[str]], str | None]

# A wedged driver makes nvidia-smi hang for ever, and a cold volume makes an interpreter slow.
_ANSWER_SECONDS = 30.0
_GPU = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
# It tells versions without importing anything: torch alone takes seconds.
_ASK = """
import json, platform
from importlib.metadata import PackageNotFoundError, version
try:
    torch = version("torch")
except PackageNotFoundError:
    torch = None
print(json.dumps([platform.python_version(), torch]))
"""
# The oldest driver that runs programs of each major version of CUDA, by NVIDIA's compatibility table.
_DRIVERS = {11: 450, 12: 525, 13: 580}
_NO_GPU = "Choose a worker with an NVIDIA GPU, or start the container with --gpus all."


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What the toolkit's Python is: its version, and torch's, which ends in the CUDA that it was built for."""

    python: str
    torch: str | None

    @property
    def driver(self) -> int | None:
        """Return the oldest driver that will do; None where nothing tells."""
        built = re.search(r"\+cu(\d\d)\d", self.torch or "")
        return _DRIVERS.get(int(built.group(1))) if built else None


def answer(command: list[str]) -> str | None:
    """Return what ``command`` prints; None where it fails, or has not ended after half a minute."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def training_checks(settings: HandlerSettings, token: str | None, run: Run = answer) -> Iterator[Check]:
    """Yield what there is to ask before a training; ``token`` is the one for the models' hub."""
    asked = cache(lambda: ask_interpreter(settings.python, run))
    toolkit = Check("toolkit", lambda: _toolkit(settings))
    yield toolkit
    yield Check("interpreter", lambda: check_interpreter(settings.python, asked()), needs=toolkit)
    yield Check("token", lambda: check_token(token))
    yield Check("gpu", lambda: check_gpu(which(_GPU[0]) is not None, run(_GPU) if which(_GPU[0]) else None, asked()))


def ask_interpreter(python: str, run: Run) -> Interpreter | None:
    """Return what ``python`` is; None where it does not run."""
    try:
        version, torch = json.loads(run([python, "-c", _ASK]) or "")
    except ValueError:
        return None
    return Interpreter(version, torch)


def _toolkit(settings: HandlerSettings) -> Finding:
    version = check_toolkit(settings)
    return fine(f"ai-toolkit {version or 'of a version that it does not tell'} at {settings.toolkit}")


def check_interpreter(python: str, found: Interpreter | None) -> Finding:
    """Return whether the toolkit can be run by ``python``, given what was found of it."""
    remedy = "Set AI_TOOLKIT_PYTHON to the Python that ai-toolkit is installed for."
    if found is None:
        return wrong(f"{python} does not run", remedy)
    if found.torch is None:
        return doubtful(f"{python} is Python {found.python}, and has no torch", remedy)
    return fine(f"{python} is Python {found.python} with torch {found.torch}")


def check_token(token: str | None) -> Finding:
    """Return whether there is a token for the models' hub; whether it opens a model, only the hub knows."""
    if token:
        return fine("HF_TOKEN is set, so gated models can be downloaded if its account was given access")
    remedy = "Set HF_TOKEN if your models are gated, as FLUX.1-dev is: the hub refuses them otherwise."
    return doubtful("HF_TOKEN is not set", remedy)


def check_gpu(driver: bool, told: str | None, interpreter: Interpreter | None) -> Finding:
    """Return whether there is a GPU to train on. ``told`` is nvidia-smi's answer, if there is a ``driver`` at all."""
    if not driver:
        return doubtful("there is no NVIDIA driver here", _NO_GPU)
    gpus = [[field.strip() for field in line.split(",")] for line in (told or "").splitlines()]
    cards = [gpu for gpu in gpus if len(gpu) == 3]
    if not cards:
        return wrong(
            "nvidia-smi finds no GPU, or does not answer", f"Restart the worker. If that is no help: {_NO_GPU}"
        )
    names = ", ".join(f"{name} with {memory}" for name, memory, _ in cards)
    version = cards[0][2]
    least = interpreter.driver if interpreter else None
    major = version.partition(".")[0]
    if least is not None and major.isdecimal() and int(major) < least:
        built = interpreter.torch if interpreter else ""
        return wrong(
            f"{names}, but its driver {version} is too old for torch {built}, which needs {least}",
            "Choose workers whose hosts have a newer CUDA: the endpoint's or pod's CUDA version filter.",
        )
    return fine(f"{names}, driver {version}")
