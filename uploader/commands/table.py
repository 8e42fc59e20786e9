"""The table of all runs, as wide as the terminal, and below it what somebody should read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shared.contract.upload import StorageState
from shared.sizes import shown
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from shared.contract.upload import Count
    from uploader.commands.overview import Overview, Row, Speeds

_SETTLED_SHOWN = 5
_FAILURES_SHOWN = 10
_IN_FLIGHT_SHOWN = 3
_BAD = frozenset({"refused", "failed"})


def table(overview: Overview, speeds: Speeds, width: int | None = None) -> RenderableType:
    """Return the overview for a terminal of ``width`` columns; None: nothing is shortened or left out."""
    rows = overview.rows if width is None else _worth_showing(overview.rows)
    nothing = Text("No runs yet: nothing has been trained or watched here.")
    parts: list[RenderableType] = [_rows(rows, speeds, width) if rows else nothing]
    left_out = len(overview.rows) - len(rows)
    if left_out:
        parts.append(Text(f"{left_out} earlier runs are delivered; --json lists them, too.", style="dim"))
    names = _names(rows)
    for row in rows:
        parts += [_note(style, f"{names[row.run]}: {text}") for style, text in _notes(row, whole=width is None)]
    return Group(*parts, _uploaders(overview, sum(speeds.of(row) for row in rows)))


def _worth_showing(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows without those that have been delivered, but for the last of these."""
    settled = [row for row in rows if row.settled]
    hidden = {row.run for row in settled[:-_SETTLED_SHOWN]}
    return tuple(row for row in rows if row.run not in hidden)


def _names(rows: Sequence[Row]) -> dict[str, str]:
    """Return what each run is called: as its model, or, where several train one of that name, as itself."""
    models = Counter(row.model for row in rows)
    return {row.run: row.model if models[row.model] == 1 else row.run for row in rows}


def _rows(rows: Sequence[Row], speeds: Speeds, width: int | None) -> Table:
    names = _names(rows)
    # From how many columns on there is room for it, and what it says of a run.
    columns: dict[str, tuple[int, Callable[[Row], Text]]] = {
        "phase": (0, _phase),
        "eta": (110, lambda row: _time(row.eta_seconds)),
        "uploaded": (0, lambda row: _count(row.upload.uploaded)),
        "pending": (0, lambda row: _count(row.upload.pending, "yellow")),
        "failed": (0, lambda row: _number(row.upload.failed.files)),
        "speed": (95, lambda row: _speed(speeds.of(row))),
        "lag": (95, lambda row: _time(row.upload.lag_seconds or None)),
        # A watched folder's run is called as its folder is, which stands there already.
        "session": (140, lambda row: Text(on_terminal(row.run) if row.session else "")),
    }
    if width is None:
        # Who looks once sees nothing move.
        del columns["speed"]
    chosen = {name: cell for name, (least, cell) in columns.items() if width is None or width >= least}
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column("run", overflow="ellipsis")
    for name in chosen:
        made.add_column(name, no_wrap=True, justify="left" if name in {"phase", "session"} else "right")
    for row in rows:
        made.add_row(Text(on_terminal(names[row.run])), *(cell(row) for cell in chosen.values()))
    return made


def _notes(row: Row, *, whole: bool) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of a run, each with its colour."""
    upload = row.upload
    if upload.refusal:
        yield "red", upload.refusal
    if row.alive and upload.storage in {StorageState.DOWN, StorageState.DENIED}:
        yield "yellow", f"Storage is {upload.storage}; what waits is sent when it is back."
    for warning in upload.warnings:
        yield "yellow", warning
    # What only waits for its turn is no news while things move.
    failures = [failure for failure in upload.failures if whole or failure.permanent or not row.moving]
    most = len(failures) if whole else _FAILURES_SHOWN
    for failure in failures[:most]:
        yield "red" if failure.permanent else "yellow", f"{failure.path}: {failure.reason}"
    if failures[most:]:
        yield "red", f"{len(failures) - most} more are not in the bucket; --json lists them."
    if row.moving and upload.in_flight and not whole:
        names = [path.rpartition("/")[2] for path in upload.in_flight]
        more = [f"{len(names) - _IN_FLIGHT_SHOWN} more"] if names[_IN_FLIGHT_SHOWN:] else []
        yield "dim", f"sending {', '.join([*names[:_IN_FLIGHT_SHOWN], *more])}"


def _note(style: str, text: str) -> Text:
    return Text(on_terminal(text), style=style)


def _uploaders(overview: Overview, speed: float) -> Text:
    """Return who carries all this, and how fast, or that nobody does."""
    if not overview.workers:
        return Text("No uploader lives here: start it with python -m uploader run.", style="yellow")
    told = [f"{worker.worker} (process {worker.pid}, Storage {worker.storage})" for worker in overview.workers]
    return Text(on_terminal(f"Uploader: {', '.join(told)}{f', {shown(speed)}/s' if speed else ''}"), style="dim")


def _phase(row: Row) -> Text:
    progress = row.session.progress if row.session else None
    step = "" if progress is None else f" {progress.step}/{progress.total or '?'}"
    return Text(f"{row.phase}{step}", style="red" if row.phase in _BAD else "")


def _count(count: Count, style: str = "") -> Text:
    return Text(f"{count.files}, {shown(count.bytes)}", style=style) if count.files else Text("-")


def _number(count: int) -> Text:
    return Text(str(count), style="red") if count else Text("-")


def _speed(speed: float) -> Text:
    return Text(f"{shown(speed)}/s" if speed else "-")


def _time(seconds: float | None) -> Text:
    if seconds is None:
        return Text("-")
    if seconds < 120:
        return Text(f"{seconds:.0f} s")
    return Text(f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h")
