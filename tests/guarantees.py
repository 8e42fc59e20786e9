"""What Ferry promises, and the mark by which a test says which promise it tries.

``@pytest.mark.guarantee("whole", fault="a file is rewritten while it is sent")`` stands on each test that breaks
something on purpose. ``python -m tests.guarantees`` prints ``docs/guarantees.md``, made of these marks and of the
tests' own names; a test compares the two.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import pytest

PROMISES = {
    "nothing-lost": "Every version of a file that the training completed reaches the bucket, or is named as missing.",
    "whole": "No half-written file, and no mixture of two versions, is ever published as complete.",
    "true-manifest": "What a manifest lists is in the bucket, bit for bit, and it is written last.",
    "resumed-upload": "After a kill an upload goes on inside the file: at most one chunk of it is sent again.",
    "resumed-training": "An interrupted training goes on at its newest whole checkpoint, on any worker.",
    "trained-once": "A job that is delivered twice is trained once.",
    "one-writer": "Two never write under one prefix, and two trainers never share a GPU.",
    "handler-death": "A handler that dies costs nothing: its training is finished, and its job is answered.",
    "undisturbed": "No trouble with Storage, and nothing that Ferry does, stops, slows or fails a training.",
    "every-wait-ends": "Every wait has an end: for Storage, for the trainer, for the drain.",
    "told": "What went wrong is told in a sentence, with what to do, where a person will see it.",
    "contained": "What a job or a file name says reaches nothing outside the job's own session.",
    "secret": "Secrets reach only those who need them: no file, no bucket, no log, no answer.",
}

_HEAD = """\
# Guarantees

What Ferry promises, what would break it, and the test that breaks it on purpose. This page is made of the tests' own
names and marks by `make guarantees`, and a test holds it to them: a line that stands here is a test that runs. *Cases*
is how often it runs, each time with another fault or another place for it.

`make storm N=100 SEED=1 AT_ONCE=2` runs for about an hour and goes through all of it: `N` rounds in which whoever is up
is killed at random, over a line that goes wrong, until the job has ended; the uploader struck at every single step that
it takes, in six ways; and ten thousand histories against the model. `make test` runs two rounds, some steps of each
sort, and three hundred histories.
"""


@dataclass(frozen=True)
class Line:
    """A test that tries a promise: the fault that it makes, the file it stands in, and its name."""

    promise: str
    fault: str
    file: str
    name: str

    def row(self, cases: int) -> str:
        """Return the line of the table."""
        shown = self.name.removeprefix("test_").replace("_", " ")
        return f"| {self.fault} | [{shown}](../{self.file}) | {cases} |"


@dataclass
class Collector:
    """A plugin of pytest that notes the marks of all tests and runs none."""

    lines: Counter[Line] = field(default_factory=Counter)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take note of each test that tries a promise."""
        for item in session.items:
            for mark in item.iter_markers("guarantee"):
                [promise] = mark.args
                self.lines[Line(promise, mark.kwargs["fault"], item.location[0], item.name.partition("[")[0])] += 1


def page() -> str:
    """Return ``docs/guarantees.md``.

    Raises KeyError for a promise that is not in the list, RuntimeError where some test cannot be read.
    """
    collector = Collector()
    with redirect_stdout(sys.stderr):
        outcome = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "tests"], [collector])
    if outcome is not pytest.ExitCode.OK:
        raise RuntimeError(f"pytest could not collect the tests: {outcome!r}")
    unknown = {line.promise for line in collector.lines} - set(PROMISES)
    if unknown:
        raise KeyError(*unknown)
    parts = [_HEAD, f"{sum(collector.lines.values())} cases in {len(collector.lines)} tests.\n"]
    for promise, sentence in PROMISES.items():
        lines = sorted(
            (line for line in collector.lines if line.promise == promise), key=lambda line: (line.file, line.name)
        )
        if lines:
            table = "\n".join(line.row(collector.lines[line]) for line in lines)
            parts.append(f"## {sentence}\n\n| even if … | the test | cases |\n|---|---|---|\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
