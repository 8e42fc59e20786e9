"""``doctor``: says whether this machine will work, and what to do if not."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from shared.contract.upload import Worker
from shared.errors import FerryError
from shared.health import lives
from shared.layout import worker_file
from shared.settings import read_settings, read_storage
from shared.sizes import counted
from shared.storage.client import Storage
from uploader.commands.known_runs import places
from uploader.doctor.checks import Check, Level, Result, doubtful, examine, fine, trouble
from uploader.doctor.disk import disk_checks
from uploader.doctor.storage import storage_checks
from uploader.doctor.training import training_checks
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from shared.settings import Settings
    from uploader.doctor.checks import Finding

_PATIENCE_SECONDS = 15.0
# The rest of the settings can be read by somebody who has not said yet where Storage is.
_ELSEWHERE = {"SUPABASE_URL": "http://localhost", "SUPABASE_SERVICE_KEY": "none", "SUPABASE_SERVICE_KEY_FILE": ""}
_LEVEL_WIDTH, _NAME_WIDTH = 7, 11
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red"}

T = TypeVar("T")


def main(options: Namespace) -> int:
    """Ask everything, and show each answer as soon as it is there; return 1 when something will not work."""
    results: list[Result] = []
    show = _shower()
    for result in _results(options, os.environ):
        results.append(result)
        if not options.json:
            show(result)
    levels = Counter(result.finding.level for result in results if result.finding)
    works = not levels[Level.FAILURE]
    if options.json:
        checks = [_fields(result) for result in results]
        print(json.dumps({"version": 1, "works": works, "checks": checks}, indent=1))
    else:
        counts = [counted(levels[level], level) for level in (Level.FAILURE, Level.WARNING)]
        left_out = len(results) - levels.total()
        counts += [f"{counted(left_out, 'check')} left out"] if left_out else []
        print(f"This will {'work' if works else 'not work yet'}: {', '.join(counts)}.")
    return 0 if works else 1


def _results(options: Namespace, environ: Mapping[str, str]) -> Iterator[Result]:
    storage, astray = _attempt(lambda: read_storage(environ))
    settings, wrong = _attempt(lambda: read_settings({**environ, **_ELSEWHERE}))
    yield _told("project", astray or fine(f"SUPABASE_URL is {storage.url if storage else ''}"))
    yield _told("settings", wrong or fine("all other variables are right, or are left at their defaults"))
    if settings is not None:
        yield from examine(_machine_checks(settings, options, environ))
    if storage is not None:
        buckets = options.bucket or sorted({bucket for bucket, _ in places(settings.root)} if settings else ())
        with Storage(storage, timeout=_PATIENCE_SECONDS) as client:
            yield from examine(storage_checks(storage, client, buckets))


def _machine_checks(settings: Settings, options: Namespace, environ: Mapping[str, str]) -> Iterator[Check]:
    folder = options.watch or settings.root
    yield from disk_checks(folder, trains=options.watch is None, environ=environ)
    if options.watch is None:
        yield from training_checks(settings.handler, environ.get("HF_TOKEN"))
    yield Check("uploader", lambda: _uploader(settings, time.time()))


def _uploader(settings: Settings, now: float) -> Finding:
    beat = Worker.read(worker_file(settings.root, settings.worker))
    if beat is None or not lives(beat, now):
        return doubtful("none lives on this worker", "Start it: python -m uploader run.")
    return fine(f"process {beat.pid} lives, and Storage is {beat.storage} for it")


def _attempt(read: Callable[[], T]) -> tuple[T | None, Finding | None]:
    try:
        return read(), None
    except FerryError as error:
        return None, trouble(error)


def _told(name: str, finding: Finding) -> Result:
    return Result(Check(name, lambda: finding), finding)


def _fields(result: Result) -> dict[str, Any]:
    check, finding = result.check, result.finding
    left_out = {"level": "left out", "says": None, "remedy": None}
    told = left_out if finding is None else {"level": finding.level, "says": finding.says, "remedy": finding.remedy}
    return {"name": check.name, "about": check.about, **told}


def _shower() -> Callable[[Result], None]:
    """Return what prints a finding and what to do: on a terminal below it, else on the same line."""
    if not sys.stdout.isatty():
        return lambda result: print(_line(result)) if result.finding else None
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout)

    def show(result: Result) -> None:
        finding = result.finding
        if finding is None:
            return
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=_LEVEL_WIDTH)
        line.add_column(width=_NAME_WIDTH)
        line.add_column(overflow="fold")
        line.add_row(Text(finding.level, style=_COLOURS[finding.level]), result.check.name, Text(_said(result)))
        if finding.remedy:
            line.add_row("", "", Text(f"-> {on_terminal(finding.remedy)}", style="bold"))
        console.print(line)

    return show


def _line(result: Result) -> str:
    finding = result.finding
    level, remedy = (finding.level, finding.remedy) if finding else ("", None)
    end = f" -> {on_terminal(remedy)}" if remedy else ""
    return f"{level:{_LEVEL_WIDTH}}  {result.check.name:{_NAME_WIDTH}}  {_said(result)}{end}"


def _said(result: Result) -> str:
    about = f"{result.check.about}: " if result.check.about else ""
    return on_terminal(f"{about}{result.finding.says if result.finding else ''}")
