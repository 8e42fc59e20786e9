"""What the drawings of the architecture show is so: programs, modules and what they import, lanes."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from shared.layout import SessionFolder
from tests.docs.documents import PROJECT, page, quoted
from uploader.lanes import LINED_UP, Lane, Lanes

ARROW = re.compile(r"\s*-->\s*")


def drawing(words: str) -> str:
    """Return the one drawing that has ``words`` in it."""
    [found] = [block for block in page("architecture").blocks("mermaid") if words in block]
    return found


def edges(drawn: str) -> list[tuple[str, str]]:
    """Return the arrows between plain names."""
    chains = [ARROW.split(line.strip()) for line in drawn.splitlines() if "-->" in line]
    return [pair for chain in chains for pair in pairwise(chain)]


def imported(package: str, name: str) -> set[str]:
    """Return what ``name``, or a module in it if it is a package, imports, for the type checker as well."""
    path = PROJECT / package / name
    files = path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{alias.name}" for node in froms for alias in node.names]
    return {".".join(name.split(".")[:2]) for name in names}


@pytest.mark.parametrize(("package", "words"), [("handler", "reception -->"), ("uploader", "carrier -->")])
def test_every_arrow_between_modules_is_an_import(package: str, words: str) -> None:
    shown = edges(drawing(words))
    assert len(shown) > 12
    for start, end in shown:
        there = imported(package, start)
        assert {f"{package}.{end}", f"shared.{end}"} & there, f"{start} does not import {end}"


def test_the_programs_are_supervisords() -> None:
    commands = re.findall(r"^command=\S+ -m (.+)$", (PROJECT / "supervisord.conf").read_text(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert f'<br>python -m {command.strip()}"]' in drawing("PID 1")


def test_the_lanes_are_all_there_with_what_they_take() -> None:
    rows = page("architecture").table("lane")
    assert [row[0].strip("`") for row in rows] == list(Lane)
    lanes = Lanes(16, lambda: None)
    told = {row[0].strip("`"): row[1] for row in rows}
    assert told.pop("small") == "`UPLOAD_CONCURRENCY`, and three more lined up for each"
    assert lanes.free(Lane.SMALL) == 16 * LINED_UP == 16 * (1 + 3)
    assert {lane: int(count) for lane, count in told.items()} == {lane: lanes.free(Lane(lane)) for lane in told}
    lanes.close()


def test_everything_in_a_sessions_folder_is_explained() -> None:
    folder = SessionFolder(Path("{session}"))
    there = {str(getattr(folder, name)) for name, what in vars(SessionFolder).items() if isinstance(what, property)}
    there -= {folder.session_id}
    shown = {path.rstrip("/") for row in page("architecture").table("file") for path in quoted(row[0])}
    assert len(there) > 8
    assert there <= shown
