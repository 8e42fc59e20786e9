"""Where ai-toolkit writes: into the session, whatever the configuration says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handler.rewrite.match import components
from handler.rewrite.rules import Kind

if TYPE_CHECKING:
    from handler.rewrite.paths import Reference
    from shared.layout import SessionFolder

_PROCESS = re.compile(r"config\.process\[(\d+)\]")


def output_path(reference: Reference, session: SessionFolder) -> str | None:
    """Return where an output goes, or None where ``reference`` is no output. Raises ValueError for a bad file name."""
    match reference.kind:
        case Kind.OUTPUT:
            return str(session.output)
        case Kind.LOGS:
            return str(session.output / "logs")
        case Kind.DATABASE:
            return str(session.output / "aitk_db.db")
        case Kind.OUTPUT_FILE:
            return str(_file(reference, session))
        case Kind.FILE_NAME:
            return _plain_name(reference.text)
        case _:
            return None


def _file(reference: Reference, session: SessionFolder) -> object:
    """Keep the file's own name; in a folder of its process, so that no two processes write to one file."""
    parts = components(reference.text)
    if not parts:
        raise ValueError("names no file")
    process = _PROCESS.match(reference.place)
    number = int(process.group(1)) if process else 0
    return (session.output / f"process_{number}" if number else session.output) / parts[-1]


def _plain_name(text: str) -> str:
    """Leave a name that ai-toolkit puts after its output folder, provided that it stays in there."""
    if text.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", text):
        raise ValueError("must be a file's name without a folder around it")
    return text
