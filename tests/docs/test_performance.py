"""The page of figures shows what was measured, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.publish import EMBEDDED, MARK, PAGE, PLACES, page, place_of, published
from bench.report import table
from bench.rows.catalogue import ROWS
from bench.scale import FULL

if TYPE_CHECKING:
    from bench.publish import Place

MEASURED = results.read(EMBEDDED.figures)


def test_the_tables_are_made_of_the_figures() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text, published()) == text, "run python -m bench.publish"
    assert all(table(measured) in text for measured in published())


def test_the_figures_are_of_full_runs_and_what_was_not_measured_is_said() -> None:
    assert {each.scale for each in published()} == {FULL.name}
    measured = {each.row.partition(",")[0] for each in MEASURED.measurements}
    assert measured <= set(ROWS)
    told = PAGE.read_text("utf-8").partition("**Not in this table yet:**")[2].partition("\n\n")[0]
    assert {row for row in ROWS if f"`{row}`" in told} == set(ROWS) - measured


def test_a_new_table_takes_the_place_of_the_old() -> None:
    once = page(f"# Title\n\n{MARK}\nold table\n", [MEASURED])
    assert once.startswith(f"# Title\n\n{MARK}\n## {EMBEDDED.title}\n\n{MEASURED.machine}")
    assert "old table" not in once
    assert page(once, [MEASURED]) == once


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.figures.stem)
def test_each_table_stands_in_its_place_with_a_picture_of_modest_size(place: Place) -> None:
    assert place_of(results.read(place.figures)) == place
    assert place.picture.read_bytes().startswith(b"\x89PNG")
    assert place.picture.stat().st_size < 300_000
