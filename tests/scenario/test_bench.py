"""The benchmark runs, as ``make bench`` starts it, and leaves a table, its figures and a picture."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from bench import results
from bench.results import FERRY
from bench.rivals.catalogue import BARE, BARE_MANY, BARE_SAME, CLIENT, CLIENT_THREADS, CURL, TUSPY
from tests.scenario.stack import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


def bench(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--scale", "small", "--out", str(out), "--work", str(out.parent)]
    command = [sys.executable, "-m", "bench", *arguments, *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_a_small_run_yields_a_table(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = bench(out, "large", "small", "--runs", "1", "--rtt", "0")
    assert told.returncode == 0, told.stdout + told.stderr
    measured = results.read(out / "results.json")
    [large, small] = measured.measurements
    assert list(large.series) == [FERRY, BARE, BARE_SAME, TUSPY, CURL, CLIENT]
    assert list(small.series) == [FERRY, BARE_MANY, CLIENT_THREADS, CLIENT]
    for series in (*large.series.values(), *small.series.values()):
        [seconds], [peak] = series.values, series.peaks
        assert seconds > 0
        assert peak > 1_000_000
    assert large.facts["chunks"] >= 1
    assert small.facts["requests a file"] >= 1
    table = (out / "results.md").read_text()
    assert "one large file, against tuspy" in table
    assert "| client in threads |" in table
    assert (out / "results.png").stat().st_size > 1000
    # What lay there before stays in the table, and nothing else is left behind.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_row_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    told = bench(tmp_path / "out", "fast")
    assert told.returncode == 2
    assert "'fast'" in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr
