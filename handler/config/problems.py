"""What is wrong with a configuration, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import ErrorCode, FerryError

# Beyond these, an answer that quotes what was submitted would be no answer that anyone reads.
_LONGEST_PROBLEM = 400
_MOST_PROBLEMS = 20
_LONGEST_QUOTE = 100


class ConfigError(FerryError):
    """A configuration that cannot be used. ``problems`` are phrases, each naming a place and what is wrong there."""

    def __init__(self, *problems: str) -> None:
        self.problems = told(problems)
        super().__init__(ErrorCode.INVALID_CONFIG, f"The configuration cannot be used: {'; '.join(self.problems)}.")


def told(problems: tuple[str, ...]) -> tuple[str, ...]:
    """Return the problems in a length that fits into an answer."""
    shown = [f"{text[:_LONGEST_PROBLEM]}…" if len(text) > _LONGEST_PROBLEM else text for text in problems]
    more = len(shown) - _MOST_PROBLEMS
    return (*shown[:_MOST_PROBLEMS], f"and {more} more") if more > 0 else tuple(shown)


def quoted(text: str) -> str:
    """Return so much of a submitted text as it takes to find it again."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def kind(value: object) -> str:
    """Return what ``value`` is, in words for someone who wrote YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    names = {str: "text", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    return next((name for known, name in names.items() if isinstance(value, known)), f"a {type(value).__name__}")
