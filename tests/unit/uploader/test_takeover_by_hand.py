"""One pass by hand beside workers that live, are silent, or are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.fleet import Fleet, told
from tests.unit.uploader.harbour import Harbour, swift_folder, write
from uploader.silence import SILENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    with swift_folder() as folder:
        yield Harbour(folder)


def test_one_pass_waits_for_the_silence_of_the_dead_and_says_so_and_brings_what_they_left(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "by-hand", hurry=True)
    folder = harbour.session(worker="gone")
    write(folder.output / "a.txt", "a")
    daemon = fleet.workers["by-hand"].daemon
    told_of: list[str] = []

    def at_rest() -> bool:
        told_of.extend(sentence for sentence in daemon.watched() if sentence not in told_of)
        return daemon.at_rest

    assert fleet.until(at_rest, "by-hand") >= SILENCE_SECONDS
    [sentence] = told_of
    assert "training_session_1 is the session of worker gone" in sentence
    assert (daemon.delivered(), daemon.failures(), daemon.elsewhere()) == ((1, 1), (), ())


def test_one_pass_leaves_the_living_alone_and_does_not_wait_for_them(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a", "by-hand", hurry=True)
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    daemon = fleet.workers["by-hand"].daemon

    def at_rest() -> bool:
        harbour.session()
        return daemon.at_rest

    assert fleet.until(at_rest, "a", "by-hand") < 10
    assert daemon.elsewhere() == (("training_session_1", "its own worker, a, is at work on it"),)


def test_one_pass_does_not_wait_for_a_silent_handler_whose_uploader_lives(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.tick("a", count=5)
    fleet.start("by-hand", hurry=True)
    daemon = fleet.workers["by-hand"].daemon
    assert fleet.until(lambda: daemon.at_rest, "a", "by-hand") < SILENCE_SECONDS + 30
    assert daemon.elsewhere() == (("training_session_1", "its own worker, a, is at work on it"),)
    assert told(folder).worker == "a"
