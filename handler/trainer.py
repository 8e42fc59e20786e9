"""Starts the trainer: its command, its environment, and the live trainers that an earlier handler left behind."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from shared.contract.process import ProcessIdentity, identify
from shared.errors import ErrorCode, FerryError
from shared.layout import sessions
from shared.secrecy import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.layout import SessionFolder
    from shared.settings import HandlerSettings

# Carries the session's folder: by it a trainer is known, whatever the training root is called today.
MARKER = "FERRY_SESSION"
LAUNCHER = "handler.launcher"
PROJECT = Path(__file__).resolve().parent.parent

_PASSED = (
    *("PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*", "PYTORCH_*", "TORCH_*", "TRITON_*", "OMP_*", "MKL_*"),
    *("HF_TOKEN", "HF_HOME", "HF_HUB_*", "HUGGINGFACE_*", "TRANSFORMERS_*", "DIFFUSERS_*"),
    *("MODELS_PATH", "SEED", "DEBUG_TOOLKIT"),
)
# Neither named nor matched: secrets that a configuration could print, and what would bend the toolkit's own Python.
_NEVER = ("SUPABASE_*", "RUNPOD_*", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "AITK_JOB_ID", MARKER)
_WILDCARDS = frozenset("*?[")

# A Popen that is collected before it has seen its process end warns about it, and the trainer outlives its function.
_launchers: list[subprocess.Popen[bytes]] = []


def command(settings: HandlerSettings, config_file: Path) -> list[str]:
    """Return the trainer's command line. Its working directory must be the toolkit's folder."""
    return [settings.python, "run.py", str(config_file.absolute())]


def environment(environ: Mapping[str, str], settings: HandlerSettings, session: SessionFolder) -> dict[str, str]:
    """Return what the trainer may see of ``environ``: an allowlist, because a configuration can read all of it.

    ``settings.trainer_variables`` adds names or patterns. A pattern does not reach variables that are named like a
    secret, and nothing lets Ferry's own secrets through, not even under another name.
    """
    own = secrets_of({name: value for name, value in environ.items() if _is_refused(name)})
    passed = {
        name: value
        for name, value in environ.items()
        if _is_passed(name, value, settings.trainer_variables) and not any(secret in value for secret in own)
    }
    if "PATH" in passed:
        passed["PATH"] = _without_own_environment(passed["PATH"], environ.get("VIRTUAL_ENV"))
    return {**passed, "PYTHONUNBUFFERED": "1", MARKER: str(session.path)}


def start(session: SessionFolder, settings: HandlerSettings, environ: Mapping[str, str]) -> ProcessIdentity:
    """Start the trainer for ``session`` and return the identity of its launcher, the root of its tree.

    The output is appended to ``trainer.out``. Raises OSError when the session's folder cannot be written or the system
    is short of something, psutil.Error when the launcher is gone at once, and as ``check_none_lives`` does.
    """
    check_none_lives(session.path.parent)
    session.trainer_exit.unlink(missing_ok=True)
    launcher = [sys.executable, "-ESs", "-m", LAUNCHER, str(session.trainer_exit), str(settings.toolkit)]
    with session.trainer_output.open("ab") as output:
        process = subprocess.Popen(
            [*launcher, *command(settings, session.config_file)],
            cwd=PROJECT,
            env=environment(environ, settings, session),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _launchers.append(process)
    try:
        return identify(process.pid)
    except (OSError, psutil.Error):
        # Nobody would watch it. The launcher passes it on, and leaves when the trainer has.
        process.terminate()
        raise


def reap_launchers() -> None:
    """Take note of the launchers of this process that have ended, so that none stays behind as a zombie."""
    _launchers[:] = [each for each in _launchers if each.poll() is None]


def check_none_lives(root: Path) -> None:
    """Raise FerryError while a trainer of a session under ``root`` lives on this machine: two would share its GPU."""
    trainers = live_trainers()
    for folder in sessions(root):
        found = root_of(folder, trainers)
        if found is not None:
            raise FerryError(
                ErrorCode.BUSY,
                f"The trainer of {folder.session_id} still lives on this worker (process {found.pid}), and two would "
                "share its GPU: send the job again when it has ended, or restart the worker.",
            )


def live_trainers(processes: Iterable[psutil.Process] | None = None) -> list[tuple[Path, ProcessIdentity]]:
    """Return the sessions whose trainer lives on this machine, each with the root of its tree, oldest first.

    The root is the launcher, or the trainer itself where somebody killed the launcher.
    """
    oldest: dict[Path, psutil.Process] = {}
    for process in sorted(processes or psutil.process_iter(), key=_created):
        folder = marker(process)
        if folder is not None:
            oldest.setdefault(Path(folder), process)
    return [(folder, identify(process.pid)) for folder, process in oldest.items() if process.is_running()]


def root_of(folder: SessionFolder, trainers: Iterable[tuple[Path, ProcessIdentity]]) -> ProcessIdentity | None:
    """Return the root among ``trainers`` that is a session's, whatever its folder was called when that was started."""
    return next((root for started_for, root in trainers if _is_of(folder, started_for, root)), None)


def _is_of(folder: SessionFolder, started_for: Path, root: ProcessIdentity) -> bool:
    """Return whether a trainer writes to this session: the path that it was given may be another's by now.

    A name would prove nothing: sessions are called by the second, and another root may have one of the same second.
    """
    try:
        return folder.trainer_output.samefile(f"/proc/{root.pid}/fd/1")
    except OSError:
        return folder.path == started_for


def marker(process: psutil.Process) -> str | None:
    """Return the session folder that ``process`` was started for; None for a stranger, or one that is gone."""
    try:
        return process.environ().get(MARKER)
    except (psutil.Error, OSError):
        return None


def _is_passed(name: str, value: str, more: Iterable[str]) -> bool:
    if _is_refused(name):
        return False
    named = {word for word in more if not _WILDCARDS & set(word)}
    if name in named or _matches(name, _PASSED):
        return True
    return _matches(name, more) and not secrets_of({name: value})


def _is_refused(name: str) -> bool:
    return _matches(name.upper(), _NEVER)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _without_own_environment(path: str, virtual_env: str | None) -> str:
    in_own = sys.prefix if sys.prefix != sys.base_prefix else None
    own = {Path(prefix, "bin") for prefix in (virtual_env, in_own) if prefix}
    return ":".join(folder for folder in path.split(":") if Path(folder) not in own)


def _created(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return float("inf")
