"""What a check is, what it finds, and how one after the other is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.errors import FerryError
from shared.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Level(StrEnum):
    """How good or bad a finding is. Only a failure keeps things from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, in a sentence, and, where it is not as it should be, what to do."""

    level: Level
    says: str
    remedy: str | None = None


def fine(says: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.OK, says)


def doubtful(says: str, remedy: str) -> Finding:
    """Return something that may be meant so, or that costs time or money."""
    return Finding(Level.WARNING, says, remedy)


def wrong(says: str, remedy: str) -> Finding:
    """Return something that will not work."""
    return Finding(Level.FAILURE, says, remedy)


def trouble(error: FerryError) -> Finding:
    """Return what an error means. Its sentence ends in what to do."""
    if isinstance(error, StorageError):
        return wrong(error.sentence.removesuffix(error.advice).rstrip(), error.advice)
    return Finding(Level.FAILURE, error.sentence)


@dataclass(frozen=True, slots=True)
class Check:
    """A question: ``look`` answers it, and may raise FerryError.

    ``about`` names which one it is of several alike. ``needs``: the check without which this one would only fail in the
    same way.
    """

    name: str
    look: Callable[[], Finding]
    about: str | None = None
    needs: Check | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A check and its finding; None where it was left out, because what it needs has failed."""

    check: Check
    finding: Finding | None


def examine(checks: Iterable[Check]) -> Iterator[Result]:
    """Yield what each check finds, as soon as it has."""
    failed: set[int] = set()
    for check in checks:
        finding = None if id(check.needs) in failed else _ask(check)
        if finding is None or finding.level is Level.FAILURE:
            failed.add(id(check))
        yield Result(check, finding)


def _ask(check: Check) -> Finding:
    try:
        return check.look()
    except FerryError as error:
        return trouble(error)
