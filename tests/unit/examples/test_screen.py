"""What a person reads of a training that goes on."""

from __future__ import annotations

import pytest

from examples.client.screen import Screen, duration, told
from examples.client.training import Standing
from shared.contract.session import Progress


def test_a_line_comes_at_each_phase_and_each_tenth_and_a_warning_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    for phase, step in (
        ("staging", 0),
        ("training", 1),
        ("training", 2),
        ("training", 9),
        ("training", 10),
        ("saving", 11),
    ):
        screen.show(Standing(phase, Progress(step=step, total=100), ("it is slow",)))
    lines = ["warning: it is slow", "staging", "training, 1/100", "training, 10/100", "saving, 11/100"]
    assert capsys.readouterr().err.splitlines() == lines


def test_what_others_have_written_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().warn("red \x1b[31m and\na line")
    assert capsys.readouterr().err == "warning: red \\x1b[31m and\\na line\n"


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(), ""),
        (Progress(step=3), "3/?"),
        (Progress(step=3, total=9, loss=0.12345, eta_seconds=5400), "3/9, loss 0.1235, 90 min left"),
    ],
)
def test_the_numbers(progress: Progress, text: str) -> None:
    assert told(progress) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (7100, "118 min"), (7200, "2.0 h")]
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
