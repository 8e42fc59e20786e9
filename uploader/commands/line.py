"""The command line: which commands there are and what each of them takes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import FerryError
from shared.secrecy import mask, secrets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXIT_CODES = "Exit codes: 0 all is well; 1 something is missing or wrong, and it is listed; 2 wrong usage or settings."
_VARIABLES = "SUPABASE_URL and SUPABASE_SERVICE_KEY say where Storage is; TRAINING_ROOT where the sessions are."


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m uploader``."""
    top = argparse.ArgumentParser(
        prog="python -m uploader",
        description="Carries everything that a training writes to Supabase Storage while it is being written.",
        epilog=f"{_VARIABLES} {_EXIT_CODES}",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _add(commands, "run", "the daemon: all sessions under TRAINING_ROOT, and a watched folder")
    _add_watch(run)
    once = _add(commands, "once", "one pass until everything is uploaded and verified")
    _add_watch(once)
    once.add_argument(
        "--patience", type=float, default=120.0, metavar="SECONDS", help="give up when nothing moves (default: 120)"
    )
    status = _add(commands, "status", "what is uploaded, pending and failed")
    status.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    status.add_argument(
        "--follow",
        action=argparse.BooleanOptionalAction,
        help="until Ctrl-C, or not at all (default: on a terminal as long as anything moves)",
    )
    status.add_argument("--watch", type=Path, metavar="FOLDER", help="a watched folder as well")
    verify = _add(commands, "verify", "compare the bucket with its manifests")
    verify.add_argument("--deep", action="store_true", help="download everything and compare the SHA-256")
    verify.add_argument("--bucket", help="the bucket of one prefix (default: every session under TRAINING_ROOT)")
    verify.add_argument("--prefix", help="the prefix whose manifest.json is to be checked")
    _add_fetch(commands)
    retry = _add(commands, "retry", "have the daemon try again what had failed for good")
    retry.add_argument("--watch", type=Path, metavar="FOLDER", help="a watched folder as well")
    doctor = _add(commands, "doctor", "say whether this machine is ready, and what to do if not")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    doctor.add_argument(
        "--bucket",
        action="append",
        help="a bucket in which to try what Ferry does; may be given again (default: those of the sessions here)",
    )
    doctor.add_argument(
        "--watch",
        type=Path,
        metavar="FOLDER",
        help="a watched folder: the uploader works alone, and no training is looked at",
    )
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        command = import_module(f"uploader.commands.{options.command}")
        code: int = command.main(options)
    except FerryError as error:
        print(f"uploader: {mask(error.sentence, secrets_of(os.environ))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fetch = _add(commands, "fetch", "bring a run, finished or not, from the bucket into a folder, and prove it")
    fetch.add_argument("--bucket", required=True, help="the bucket")
    fetch.add_argument("--prefix", required=True, help="where the run lies: folder and model name")
    fetch.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where to; what is there and right is not fetched again"
    )
    fetch.add_argument(
        "--patience", type=float, default=120.0, metavar="SECONDS", help="give up when nothing arrives (default: 120)"
    )


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", epilog=_EXIT_CODES)


def _add_watch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--watch", type=Path, metavar="FOLDER", help="a folder whose first-level folders are carried, a run each"
    )
    command.add_argument("--bucket", help="the bucket that the watched folder goes to")
    command.add_argument("--prefix", default="", help="the prefix in the bucket (default: its root)")
