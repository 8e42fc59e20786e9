"""Every form that tqdm draws a bar in."""

from __future__ import annotations

import math

import pytest

from handler.bar import Bar, parse_bar, part


def test_the_training_bar() -> None:
    line = "my: lora:  25%|██▌       | 10/40 [01:00:02<1:00:08,  3.62it/s, lr: 1.0e-04 loss: 9.070e-01]"
    assert parse_bar(line) == Bar(
        name="my: lora",
        fraction=0.25,
        done=10,
        total=40,
        elapsed=3602,
        remaining=3608,
        seconds_per_item=1 / 3.62,
        postfix="lr: 1.0e-04 loss: 9.070e-01",
    )


@pytest.mark.parametrize(
    ("line", "name", "done", "remaining", "pace"),
    [
        ("lora:   0%|          | 0/40 [00:00<?, ?it/s]", "lora", 0, None, None),
        ("lora:  25%|##5       | 500/2000 [10:00<30:00,  1.20s/it, lr: 1.0e-04 loss: nan]", "lora", 500, 1800.0, 1.2),
        ("100%|██████████| 6/6 [00:00<00:00, 19722.43it/s]", "", 6, 0.0, 1 / 19722.43),
        ("model.safetensors:  45%|████▌     | 1.2G/2.7G [00:10<00:12, 120MB/s]", "model.safetensors", None, 12.0, None),
        ("lora:  50%|█████     | 20/40 [1d02:00:00<1d02:00:00, 4680.00s/it]", "lora", 20, 93600.0, 4680.0),
    ],
)
def test_other_bars(line: str, name: str, done: int | None, remaining: float | None, pace: float | None) -> None:
    bar = parse_bar(line)
    assert bar is not None
    assert (bar.name, bar.done, bar.remaining) == (name, done, remaining)
    assert bar.seconds_per_item == (None if pace is None else pytest.approx(pace))


@pytest.mark.parametrize("line", ["", "25%| of the people", "Saving at step 10", "lora: 12it [00:03,  3.9it/s]"])
def test_what_is_no_bar(line: str) -> None:
    assert parse_bar(line) is None


@pytest.mark.parametrize(
    "line",
    [
        f"n:  10%|# | {'9' * 400}/10 [00:01<00:02,  1.0s/it]",
        f"n:  10%|# | 1/{'9' * 800} [00:01<00:02,  1.0s/it]",
        f"n:  10%|# | 1/10 [{'9' * 400}:00<00:02,  1.0s/it]",
        "n:  10%|# | 1/10 [00:01<00:02,  1.2.3s/it]",
        f"n:  10%|# | 1/10 [00:01<00:02,  0.{'0' * 400}1it/s]",
        f"n:  10%|# | {'9' * 5000}/{'9' * 5000} [00:01<00:02,  1.0s/it]",
    ],
)
def test_numbers_without_end_are_none(line: str) -> None:
    bar = parse_bar(line)
    assert bar is None or (bar.done is None or bar.done < 10**12, math.isfinite(bar.fraction)) == (True, True)


@pytest.mark.guarantee("every-wait-ends", fault="the trainer prints a line that would take hours to be understood")
def test_a_line_longer_than_any_bar_is_none_and_costs_nothing() -> None:
    # Each of these takes minutes where the whole line is searched.
    for line in ("x" * 60_000 + "%|", ": " * 30_000 + "1%|", ":  1%|" * 10_000, "n: 1%| " + "1/" * 30_000):
        assert parse_bar(line) is None


BAR = "lora:  25%|##5       | 500/2000 [10:00<30:00,  1.20s/it, lr: 1.0e-04 loss: nan]"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (BAR, (BAR, "")),
        (
            f"{BAR}Error running job: list index [3] is out of range",
            (BAR, "Error running job: list index [3] is out of range"),
        ),
        (f"{BAR} {'x' * 5000}", (BAR, "x" * 5000)),
        ("Saving at step 10", ("", "Saving at step 10")),
        ("25%| of the people", ("", "25%| of the people")),
        ("", ("", "")),
    ],
)
def test_what_is_printed_right_behind_a_bar(text: str, parts: tuple[str, str]) -> None:
    assert part(text) == parts
