"""The command line: which commands there are and what each of them takes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from shared.errors import FerryError
from shared.secrecy import mask, secrets_of
from uploader.commands.codes import ExitCode, code_of
from uploader.commands.manual import MANUAL, description, epilog

if TYPE_CHECKING:
    from collections.abc import Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name

_DESCRIPTION = "Carries everything that a training writes to Supabase Storage while it is being written."
_EPILOG = """\
SUPABASE_URL and SUPABASE_SERVICE_KEY say where Storage is, and TRAINING_ROOT
where the sessions are. 'python -m uploader COMMAND --help' has examples."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m uploader``."""
    top = argparse.ArgumentParser(
        prog="python -m uploader",
        description=fill(_DESCRIPTION, 79),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for add in (_add_run, _add_once, _add_status, _add_verify, _add_fetch, _add_retry, _add_doctor):
        add(commands)
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code."""
    made = parser()
    if "_ARGCOMPLETE" in os.environ:
        from argcomplete import autocomplete

        # A shell asks how the line may go on; it is told, and the process ends.
        autocomplete(made)
    options = made.parse_args(arguments)
    try:
        command = import_module(f"uploader.commands.{options.command}")
        code: int = command.main(options)
        sys.stdout.flush()
    except FerryError as error:
        return _refused(error.sentence, code_of(error.code))
    except BrokenPipeError:
        # Whoever read the output has left; what is still in the buffers must not be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNREAD
    except OSError as error:
        return _refused(f"The system refuses {error.filename or 'to work'}: {error.strerror}.", ExitCode.LATER)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code


def _refused(sentence: str, code: ExitCode) -> ExitCode:
    print(f"uploader: {mask(sentence, secrets_of(os.environ))}", file=sys.stderr)
    return code


def _add(commands: Commands, name: str) -> argparse.ArgumentParser:
    entry = MANUAL[name]
    return commands.add_parser(
        name,
        help=entry.summary,
        description=description(entry),
        epilog=epilog(name, entry),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_run(commands: Commands) -> None:
    _add_watch(_add(commands, "run"))


def _add_once(commands: Commands) -> None:
    once = _add(commands, "once")
    _add_watch(once)
    _add_patience(once, "moves")


def _add_status(commands: Commands) -> None:
    status = _add(commands, "status")
    status.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    status.add_argument(
        "--follow",
        action=argparse.BooleanOptionalAction,
        help="until Ctrl-C, or not at all (default: on a terminal as long as anything moves)",
    )
    status.add_argument("--watch", type=Path, metavar="FOLDER", help="a watched folder as well")


def _add_verify(commands: Commands) -> None:
    verify = _add(commands, "verify")
    verify.add_argument("--deep", action="store_true", help="download everything and compare the SHA-256")
    verify.add_argument("--bucket", help="the bucket of one prefix (default: every session under TRAINING_ROOT)")
    verify.add_argument("--prefix", help="the prefix whose manifest.json is to be checked")


def _add_fetch(commands: Commands) -> None:
    fetch = _add(commands, "fetch")
    fetch.add_argument("--bucket", required=True, help="the bucket")
    fetch.add_argument("--prefix", required=True, help="where the run lies: folder and model name")
    fetch.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where to; what is there and right is not fetched again"
    )
    _add_patience(fetch, "arrives")


def _add_retry(commands: Commands) -> None:
    retry = _add(commands, "retry")
    retry.add_argument("--watch", type=Path, metavar="FOLDER", help="a watched folder as well")


def _add_doctor(commands: Commands) -> None:
    doctor = _add(commands, "doctor")
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


def _add_watch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--watch", type=Path, metavar="FOLDER", help="a folder whose first-level folders are carried, a run each"
    )
    command.add_argument("--bucket", help="the bucket that the watched folder goes to")
    command.add_argument("--prefix", default="", help="the prefix in the bucket (default: its root)")


def _add_patience(command: argparse.ArgumentParser, moves: str) -> None:
    command.add_argument(
        "--patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help=f"give up when nothing {moves} for so long (default: 120)",
    )
