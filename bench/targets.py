"""What is to be reached, and whether a table has reached it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import (
    fact,
    longer_by,
    median,
    memory_beside,
    memory_of_both,
    of_series,
    of_two,
    p50,
    p99,
    share_of_the_line,
    times_as_fast,
    times_as_long,
    times_the_rate,
    worst,
)
from bench.rivals.catalogue import BARE_DOWN, BARE_MANY, BARE_SAME, CLIENT, CLIENT_DOWN, CURL_DOWN, TUSPY

if TYPE_CHECKING:
    from bench.figures import Figure, Situation
    from bench.results import Results

SDK = "the SDK's own import"
BARE_TRAINER = "run.py alone"
FEW = "Ferry, the fewer and larger ones"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound. ``at_least``: it is to be no smaller, else no larger.

    ``unit`` is what the figure is shown in, and ``factor`` what it is multiplied with for that.
    """

    what: str
    figure: Figure
    bound: float
    at_least: bool = False
    unit: str = ""
    factor: float = 1.0

    @property
    def wanted(self) -> str:
        """Return the bound in words."""
        return f"{'≥' if self.at_least else '≤'} {self.shown(self.bound)}"

    def shown(self, value: float) -> str:
        """Return a figure as it is shown."""
        return f"{value * self.factor:.2f} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure, as it is shown, and whether it is within its bound."""

    measured: float
    shown: str
    reached: bool


def judge(target: Target, results: Results) -> Verdict | None:
    """Return the verdict; None where what it takes was not measured."""
    measured = target.figure(results)
    if measured is None:
        return None
    reached = measured >= target.bound if target.at_least else measured <= target.bound
    return Verdict(measured, target.shown(measured), reached)


def _speed(what: str, situation: Situation, rival: str, bound: float) -> Target:
    return Target(what, of_two(situation, rival, times_as_fast), bound, at_least=True, unit="×")


def _seconds(what: str, figure: Figure, bound: float) -> Target:
    return Target(what, figure, bound, unit="s")


def _percent(what: str, figure: Figure, bound: float, *, at_least: bool = False) -> Target:
    return Target(what, figure, bound, at_least=at_least, unit="%", factor=100)


_ALONE, _BESIDE = ("latency", "idle"), ("latency", "beside a large checkpoint")
_LINE, _LOG = ("line", "80 ms, 200 Mbit/s"), ("log", "status.json behind")
_CHANGED, _HANDLER_START, _RATE = ("idle", "a changed old file"), ("start", "handler"), ("steps", "rate")
_MANY, _RESTART = ("many", "0 ms"), ("restart", "SIGKILL")
_LARGEST_DATASET = ("dataset, large", "0 ms")

TARGETS = (
    _speed("one large file, against the bare loop in the same chunks", ("large", "0 ms"), BARE_SAME, 0.85),
    _speed("one large file, against tuspy", ("large", "0 ms"), TUSPY, 1.0),
    _speed("one large file at 20 ms with TLS, against tuspy", ("large", "20 ms, TLS"), TUSPY, 1.3),
    _speed("four large files in a row, against the bare loop in the same chunks", ("four", "0 ms"), BARE_SAME, 0.92),
    _speed("300 small files, against bare connections, as many", ("small", "0 ms"), BARE_MANY, 0.90),
    _speed("300 small files, against the client in a loop", ("small", "0 ms"), CLIENT, 1.7),
    _speed("300 small files at 20 ms, against the client in a loop", ("small", "20 ms"), CLIENT, 8.0),
    Target("each of 10,000 files, beside each of 300", of_two(_MANY, FEW, times_as_long), 1.1, unit="×"),
    Target("memory with 10,000 files, beside that with 300", of_two(_MANY, FEW, memory_of_both), 1.1, unit="×"),
    Target("requests for each of 10,000 files, all included", fact(_MANY, "requests a file"), 1.05),
    _percent("of a line of 200 Mbit/s and 80 ms, by three large files", share_of_the_line(_LINE), 0.90, at_least=True),
    _seconds("a sample until it is visible, the line idle, p50", of_series(_ALONE, p50), 1.0),
    _seconds("the same, p99", of_series(_ALONE, p99), 2.0),
    _seconds("a sample until it is visible, beside 2 GiB on their way, p50", of_series(_BESIDE, p50), 2.0),
    _seconds("the same, p99", of_series(_BESIDE, p99), 4.0),
    Target("live copies of a log of 100 MB", fact(_LOG, "bytes a second"), 65536, unit="KiB/s", factor=1 / 1024),
    _seconds("`status.json` behind such a log at most", of_series(_LOG, worst), 17.0),
    _percent("CPU with 10,000 delivered files and nothing to do", of_series(("idle", "CPU"), median), 0.005),
    _seconds("a changed old file among them, until it is visible", of_series(_CHANGED, worst), 15.0),
    Target("memory, idle", of_series(("memory", "idle"), worst), 75, unit="MB"),
    Target("memory, sending 2 GiB", of_series(("memory", "a very large file"), worst), 95, unit="MB"),
    Target("memory, 100,000 files", of_series(("memory", "very many files"), worst), 120, unit="MB"),
    _seconds("the uploader's start to its first look", of_series(("start", "uploader"), median), 0.7),
    _seconds("the handler's start until it is ready, beyond the SDK's", of_two(_HANDLER_START, SDK, longer_by), 0.3),
    _speed("a dataset of 2,000 files, against bare connections, as many", ("dataset", "0 ms"), BARE_DOWN, 0.85),
    _speed("such a dataset at 20 ms, against the client in a loop", ("dataset", "20 ms"), CLIENT_DOWN, 5.0),
    _speed("a dataset of one file of 2 GiB, against curl", _LARGEST_DATASET, CURL_DOWN, 0.9),
    Target("memory with that, beside 2,000 files", memory_beside(_LARGEST_DATASET, ("dataset", "0 ms")), 1.1, unit="×"),
    _seconds("a job's taking to the trainer's start", of_series(("job", "before"), median), 0.5),
    _seconds("the last byte's verification to the answer", of_series(("job", "after"), median), 0.3),
    _percent("CPU of the handler beside a training", of_series(("handler", "CPU"), median), 0.01),
    _percent("the trainer's rate, of `run.py` alone", of_two(_RATE, BARE_TRAINER, times_the_rate), 0.99, at_least=True),
    _seconds("a restart after SIGKILL until it sends again", of_series(_RESTART, median), 1.5),
    _percent("of what was delivered, read again by then", fact(_RESTART, "read of what was delivered"), 0.5),
)
