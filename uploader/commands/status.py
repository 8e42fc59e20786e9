"""``status``: what is uploaded, pending and failed, as the daemon last wrote it down."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from shared.contract.session import Session
from shared.contract.upload import Upload
from shared.settings import read_root
from shared.sizes import shown
from uploader.commands.known_runs import states
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


def main(options: Namespace) -> int:
    """Show every run; return 1 when something has failed for good."""
    rows = [row for state in states(read_root(), options.watch) if (row := _row(state))]
    if options.json:
        print(json.dumps({"version": 1, "runs": rows}, indent=1))
    else:
        _table(rows)
    return 1 if any(row["failed"]["files"] for row in rows) else 0


def _row(state: Path) -> dict[str, Any] | None:
    upload = Upload.read(state / "upload.json")
    session = Session.read(state / "session.json")
    if upload is None:
        return None
    return {
        "run": state.name,
        "phase": session.phase if session else None,
        "step": session.progress.step if session else None,
        **upload.model_dump(mode="json", exclude={"version"}),
    }


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("No runs yet: nothing has been trained or watched here.")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("run", "phase", "uploaded", "pending", "failed", "lag", "storage"):
        table.add_column(column)
    for row in rows:
        counts = (f"{row[name]['files']} ({shown(row[name]['bytes'])})" for name in ("uploaded", "pending", "failed"))
        table.add_row(
            escape(on_terminal(row["run"])),
            row["phase"] or "watched",
            *counts,
            f"{row['lag_seconds']:.0f} s",
            row["storage"],
        )
    Console(file=sys.stdout, soft_wrap=True).print(table)
    for row in rows:
        for failure in row["failures"]:
            print(on_terminal(f"{row['run']}: {failure['path']}: {failure['reason']}"))
