"""The page of figures shows what was measured, and nothing else."""

from __future__ import annotations

from bench import results
from bench.publish import FIGURES, MARK, PAGE, PICTURE, page
from bench.report import table
from bench.rows.catalogue import ROWS
from bench.scale import FULL

MEASURED = results.read(FIGURES)


def test_the_table_is_made_of_the_figures() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text, MEASURED) == text, "run python -m bench.publish"
    assert table(MEASURED) in text


def test_the_figures_are_of_full_runs_and_what_was_not_measured_is_said() -> None:
    assert MEASURED.scale == FULL.name
    measured = {each.row.partition(",")[0] for each in MEASURED.measurements}
    assert measured <= set(ROWS)
    told = PAGE.read_text("utf-8").partition("**Not in this table yet:**")[2].partition("\n\n")[0]
    assert {row for row in ROWS if f"`{row}`" in told} == set(ROWS) - measured


def test_a_new_table_takes_the_place_of_the_old() -> None:
    once = page(f"# Title\n\n{MARK}\nold table\n", MEASURED)
    assert once.startswith(f"# Title\n\n{MARK}\n{MEASURED.machine}")
    assert "old table" not in once
    assert page(once, MEASURED) == once


def test_the_picture_is_there_and_of_modest_size() -> None:
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size < 300_000
