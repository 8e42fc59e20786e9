"""The table, and the file that it is made of."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from bench import results as files
from bench.line import Line
from bench.plot import draw
from bench.report import table
from bench.results import FERRY, Measurement, Series
from bench.rivals.catalogue import BARE_SAME, TUSPY
from tests.unit.bench.measured import race, results

if TYPE_CHECKING:
    from pathlib import Path

ALONE = Measurement("idle", "CPU with nothing to do", "CPU", {FERRY: Series((0.004, 0.002))}, unit="cores")
RACE = race((1.0, 2.0, 1.0), {TUSPY: (2.0, 4.0, 2.0), BARE_SAME: (0.5, 1.0, 0.5)})


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_verdicts_come_first_and_say_what_was_wanted_and_what_was_measured() -> None:
    text = lines(table(results(RACE, ALONE)))
    assert text[0] == "2 cores"
    assert "| one large file, against tuspy | ≥ 1.00 × | 2.00 × | reached |" in text
    bare = "| one large file, against the bare loop in the same chunks | ≥ 0.85 × | 0.50 × | **not reached** |"
    assert bare in text
    assert "| CPU with 10,000 delivered files and nothing to do | ≤ 0.50 % | 0.30 % | reached |" in text
    assert not any("300 small files" in line for line in text)


def test_a_race_shows_everybody_beside_ferry() -> None:
    text = lines(table(results(RACE)))
    start = text.index("**one file, 0 ms**")
    assert text[start + 2] == "|  | median | minimum | spread | MB/s | Ferry beside it | CPU | memory at most |"
    assert text[start + 4] == "| Ferry | 1.000 s | 1.000 s | 100% | 10.0 |  | 0.50 s | 1 MB |"
    assert text[start + 5] == "| tuspy | 2.000 s | 2.000 s | 100% | 5.0 | 2.00 × | 0.50 s | 1 MB |"


def test_of_a_rate_more_is_better() -> None:
    series = {FERRY: Series((50.0,)), "alone": Series((100.0,))}
    text = table(results(Measurement("steps", "the trainer", "rate", series, unit="steps/s")))
    assert "| alone | 100.0 steps/s | 100.0 steps/s | 0% | 0.50 × | – | – |" in text


def test_who_was_alone_stands_in_one_table() -> None:
    text = lines(table(results(ALONE)))
    assert text[-1] == "| CPU with nothing to do | 0.30% | 0.20% | 0.40% | 2 |"


def test_figures_of_a_small_scale_say_that_they_mean_nothing() -> None:
    assert "only show that the benchmark works" in table(results(RACE, scale="small"))
    assert "only show" not in table(results(RACE))


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, written = tmp_path / "results.json", results(dataclasses.replace(RACE, facts={"chunks": 3.0}), ALONE)
    files.write(path, written)
    assert files.read(path) == written


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"version": 0}))
    with pytest.raises(ValueError, match="not of version 1"):
        files.read(path)


def test_what_is_measured_anew_takes_the_place_of_the_old() -> None:
    again = race((3.0,))
    known = results(RACE, ALONE).with_measurement(again)
    assert known.measurements == (again, ALONE)
    elsewhere = race((3.0,), condition="20 ms")
    assert known.with_measurement(elsewhere).measurements == (again, ALONE, elsewhere)


def test_the_picture_shows_races_and_needs_one(tmp_path: Path) -> None:
    draw(results(ALONE), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    draw(results(RACE, ALONE), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("line", "label"),
    [
        (Line(), "0 ms"),
        (Line(20, tls=True), "20 ms, TLS"),
        (Line(80, 25_000_000), "80 ms, 200 Mbit/s"),
    ],
)
def test_a_line_has_the_name_that_the_targets_know(line: Line, label: str) -> None:
    assert line.label == label
    assert line.direct == (label == "0 ms")
