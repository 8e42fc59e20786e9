"""The uploader struck at every step that it takes: killed, or refused by the disk, and then started again.

``FERRY_STORM=1`` goes through every step there is; else a few are chosen by chance, of each sort at least one. A single
one can be tried again with ``python -m tests.scenario.steps MODE POINT POINT``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.scenario.steps.passage import Passages, Verdict
from tests.scenario.steps.sweep import MODES, NEVER, sample, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[str, object], None]

STORM = bool(os.environ.get("FERRY_STORM"))
# Far fewer than there are: an uploader that took fewer would have been followed badly, or not at all.
FEWEST = {"kill": 600, "eio": 600, "enospc": 600, "before": 60, "during": 25, "after": 60}
SAMPLES = {"kill": 20, "eio": 8, "enospc": 8, "before": 4, "during": 4, "after": 6}
SEED = int(os.environ.get("FERRY_SEED", "20"))

pytestmark = [pytest.mark.xdist_group("steps"), pytest.mark.timeout(0 if STORM else 600)]


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passages]:
    with Passages(tmp_path_factory.mktemp("steps")) as made:
        yield made


@pytest.fixture(scope="module")
def steps(passages: Passages) -> list[str]:
    """Return the durable steps of an uploader to which nothing happens."""
    reason = passages.obstacle()
    if reason:
        pytest.skip(reason)
    return undisturbed(passages, "kill")


@pytest.fixture(scope="module")
def exchanges(passages: Passages) -> list[str]:
    """Return the exchanges of an uploader to which nothing happens."""
    return undisturbed(passages, "before")


@pytest.fixture(scope="module")
def bodies(passages: Passages) -> list[str]:
    """Return those of its exchanges that have a body which can be cut in two."""
    return undisturbed(passages, "during")


def undisturbed(passages: Passages, mode: str) -> list[str]:
    verdict = MODES[mode](passages, NEVER)
    assert not verdict.faults, told(mode, NEVER, verdict)
    assert verdict.manifests, "nobody has seen a manifest"
    return verdict.steps


@pytest.mark.guarantee("nothing-lost", fault="the uploader is killed at any of its durable system calls")
def test_an_uploader_killed_at_any_durable_step_delivers_all_in_the_end(
    passages: Passages, steps: list[str], record_property: Tell
) -> None:
    strike(passages, "kill", steps, record_property)


@pytest.mark.guarantee("nothing-lost", fault="any one of the uploader's durable system calls fails with EIO")
def test_an_uploader_whose_disk_fails_once_delivers_all_in_the_end(
    passages: Passages, steps: list[str], record_property: Tell
) -> None:
    strike(passages, "eio", steps, record_property)


@pytest.mark.guarantee("nothing-lost", fault="the disk is full at any one of the uploader's durable system calls")
def test_an_uploader_whose_disk_is_full_once_delivers_all_in_the_end(
    passages: Passages, steps: list[str], record_property: Tell
) -> None:
    strike(passages, "enospc", steps, record_property)


@pytest.mark.guarantee("true-manifest", fault="the uploader is killed just before Storage hears any of its requests")
def test_an_uploader_killed_before_any_request_leaves_no_false_manifest(
    passages: Passages, exchanges: list[str], record_property: Tell
) -> None:
    strike(passages, "before", exchanges, record_property)


@pytest.mark.guarantee("resumed-upload", fault="the uploader is killed in the middle of any request's body")
def test_an_uploader_killed_in_any_body_sends_at_most_a_chunk_again(
    passages: Passages, bodies: list[str], record_property: Tell
) -> None:
    strike(passages, "during", bodies, record_property)


@pytest.mark.guarantee(
    "true-manifest", fault="the uploader is killed after Storage did what it asked, before the answer"
)
def test_an_uploader_that_never_hears_the_answer_leaves_no_false_manifest(
    passages: Passages, exchanges: list[str], record_property: Tell
) -> None:
    strike(passages, "after", exchanges, record_property)


def strike(passages: Passages, mode: str, steps: list[str], tell: Tell) -> None:
    """Strike the uploader at every point there is, or at a few; fail with all that goes wrong.

    ``tell`` is pytest's ``record_property``; how many points there were is shown at the end.
    """
    struck: Counter[str] = Counter()
    faults = []
    for point, verdict in _struck(passages, mode, steps):
        if verdict.struck:
            struck[verdict.struck] += 1
        if verdict.faults:
            faults.append(told(mode, point, verdict))
    tell("struck", f"{mode}: struck at {struck.total()} points of {len(struck)} sorts, {len(faults)} of them wrong")
    assert not faults, f"{len(faults)} points are wrong\n" + "\n".join(faults[:5])
    # Where steps are chosen, a run that takes fewer than the first one did may not come to the last ones.
    assert struck.total() >= (FEWEST[mode] if STORM else SAMPLES[mode] / 2), f"the uploader was struck {struck} times"


def _struck(passages: Passages, mode: str, steps: list[str]) -> Iterator[tuple[int, Verdict]]:
    if STORM:
        yield from sweep(passages, MODES[mode])
        return
    for point in sample(steps, SAMPLES[mode], random.Random(SEED)):
        yield point, MODES[mode](passages, point)


def told(mode: str, point: int, verdict: Verdict) -> str:
    """Return what went wrong, and how to see it again."""
    again = f"python -m tests.scenario.steps {mode} {point} {point}"
    return f"{again}: at {verdict.struck}\n  " + "\n  ".join(verdict.faults) + f"\n{verdict.printed[-3000:]}"


def test_enough_steps_are_followed(steps: list[str], exchanges: list[str]) -> None:
    assert len(steps) >= FEWEST["kill"]
    assert len(exchanges) >= FEWEST["after"]
    for call in ("fdatasync", "fsync", "ftruncate", "pwrite64", "rename", "unlink", "write", "create", "mkdir"):
        assert any(step.startswith(f"{call} ") for step in steps), f"no {call} among the steps"
    for asked in ("PATCH upload/resumable", "POST object/move", "DELETE object", "POST object"):
        assert asked in exchanges
