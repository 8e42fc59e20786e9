"""tqdm's progress bars, as it draws them with a description, a total and a postfix.

For example ``my_lora:  25%|██▌       | 10/40 [00:02<00:08,  3.62it/s, lr: 1.0e-04 loss: 9.070e-01]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_BAR = re.compile(
    r"(?:(?P<name>.*): +|\s*)(?P<percent>\d{1,3})%\|[^|]*\| *"
    r"(?P<done>\S+?)/(?P<total>\S+) \[(?P<elapsed>[^<\]]+)<(?P<remaining>[^,\]]+)"
    r"(?:, +(?P<rate>[^,\]\s]+))?(?:, (?P<postfix>[^\]]*))?\]"
)
_INTERVAL = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6}):)?(\d{1,6}):(\d{1,6})")
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(s/it|it/s)")
# Longer than any bar; the time to look for one grows with the square of the line.
_LONGEST = 1000
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One drawing of a bar. Times are seconds; ``done`` and ``total`` are None where they are no plain counts."""

    name: str
    fraction: float
    done: int | None
    total: int | None
    elapsed: float
    remaining: float | None
    seconds_per_item: float | None
    postfix: str

    @property
    def finished(self) -> bool:
        """Return whether nothing is left to do."""
        return self.fraction >= 1


# Each line is asked about for the log and for the numbers.
@lru_cache(maxsize=4)
def parse_bar(text: str) -> Bar | None:
    """Return the bar that a clean line shows, or None when it is none."""
    if "%|" not in text or len(text) > _LONGEST:
        return None
    match = _BAR.search(text)
    if match is None:
        return None
    done, total = _count(match["done"]), _count(match["total"])
    return Bar(
        name=(match["name"] or "").strip(),
        fraction=done / total if done is not None and total else int(match["percent"]) / 100,
        done=done,
        total=total,
        elapsed=_seconds(match["elapsed"]) or 0.0,
        remaining=_seconds(match["remaining"]),
        seconds_per_item=_seconds_per_item(match["rate"] or ""),
        postfix=match["postfix"] or "",
    )


def part(text: str) -> tuple[str, str]:
    """Return the bar at the beginning of a clean line, and what was printed right behind it; either may be empty.

    tqdm ends no line, so what is printed next, such as the error that ends a training, continues the bar's.
    """
    match = _BAR.search(text[:_LONGEST]) if "%|" in text[:_LONGEST] else None
    return ("", text) if match is None else (text[: match.end()], text[match.end() :].lstrip())


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _seconds(text: str) -> float | None:
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _seconds_per_item(rate: str) -> float | None:
    match = _RATE.fullmatch(rate)
    if match is None or not float(match[1]):
        return None
    return float(match[1]) if match[2] == "s/it" else 1 / float(match[1])
