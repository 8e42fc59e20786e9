from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.patience import PATIENCE_SECONDS
from tests.unit.uploader.harbour import write
from uploader.growing import Growing
from uploader.rows import Known
from uploader.scan import hidden, look
from uploader.states import State

if TYPE_CHECKING:
    from pathlib import Path


class Logbook:
    """One log and what was published of it."""

    def __init__(self, root: Path, name: str = "a.log") -> None:
        self.root, self.name = root, name
        self.path = root / name
        self.growing = Growing(root, 15)
        self.now = 100.0
        self.strange: list[str | None] = []

    def append(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def notice(self, known: Known | None = None, age: float = 0.0) -> None:
        seen = look(self.root, self.name)
        assert seen is not None
        self.growing.notice(seen, known, self.now, age)

    def after(self, seconds: float, *, ended: bool = False) -> list[int]:
        self.now += seconds
        self.strange = [seen.strange for seen in self.growing.look_again(self.now)]
        return [version.size for _, version in self.growing.due(self.now, ended=ended)]


@pytest.fixture
def log(tmp_path: Path) -> Logbook:
    return Logbook(tmp_path)


def test_whole_lines_while_it_grows_and_the_last_byte_when_it_is_quiet(log: Logbook) -> None:
    log.append("one\nhal")
    log.notice()
    assert log.growing.waiting == 1
    assert log.after(1) == [4]
    log.append("f\nmo")
    assert log.after(1) == []
    assert log.after(14) == [9]
    assert log.growing.waiting == 1
    assert log.after(14) == [11]
    assert log.growing.waiting == 0
    assert log.after(100) == []


def test_at_the_end_it_is_whole_at_once(log: Logbook) -> None:
    log.append("one\nhal")
    log.notice()
    assert log.after(0, ended=True) == [7]


def test_one_that_never_stops_growing_is_not_waited_for(log: Logbook) -> None:
    log.append("one\n")
    log.notice()
    log.after(1)
    log.append("two\n")
    log.after(1)
    assert log.growing.waiting == 0


def test_a_large_log_is_published_rarely(log: Logbook) -> None:
    log.append("x" * (4 << 20) + "\n")
    log.notice()
    assert len(log.after(1)) == 1
    for _ in range(6):
        log.append("more\n")
        assert log.after(10) == []
    log.append("more\n")
    assert len(log.after(10)) == 1


def test_an_old_log_is_taken_whole_at_once(log: Logbook) -> None:
    log.append("one\nhal")
    log.notice(age=1000)
    assert log.after(0) == [7]


def test_a_touched_log_is_not_shortened_to_its_last_whole_line(log: Logbook) -> None:
    log.append("one\nhal")
    seen = look(log.root, log.name)
    assert seen is not None
    log.notice(Known(State.DELIVERED, seen.version))
    log.path.touch()
    assert log.after(1) == []
    assert log.after(20) == [7]


def test_one_that_shrinks_is_published_anew(log: Logbook) -> None:
    log.append("one\ntwo\nthree\n")
    log.notice()
    assert log.after(1) == [14]
    log.path.write_text("new\n")
    assert log.after(20) == [4]


def test_one_that_is_replaced_is_published_anew(log: Logbook) -> None:
    log.append("one\n")
    log.notice()
    log.after(1)
    write(log.root / "b", "longer than before\n")
    (log.root / "b").rename(log.path)
    assert log.after(20) == [19]


def test_one_that_is_gone_or_has_become_something_else_is_forgotten(log: Logbook) -> None:
    log.append("one\n")
    log.notice()
    log.path.unlink()
    assert log.after(1) == []
    assert (log.growing.waiting, log.strange) == (0, [])
    log.append("one\n")
    log.notice()
    log.path.unlink()
    log.path.symlink_to("elsewhere")
    assert log.after(1) == []
    assert (log.growing.waiting, log.strange) == (0, ["a symbolic link"])


def test_one_that_was_given_up_as_gone_and_is_back_as_it_was_is_published(log: Logbook) -> None:
    log.append("one\n")
    seen = look(log.root, log.name)
    assert seen is not None
    log.notice(age=1000)
    assert log.after(0) == [4]
    log.notice(Known(State.GONE, seen.version), age=1000)
    assert log.after(0) == [4]


def test_one_that_the_system_hides_for_a_while_is_waited_for(log: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("one\n")
    log.notice()
    monkeypatch.setattr("uploader.growing.look", lambda _root, path: hidden(path, OSError(116, "Stale file handle")))
    assert (log.after(1), log.growing.waiting) == ([], 1)
    monkeypatch.setattr("uploader.growing.look", look)
    assert log.after(1, ended=True) == [4]
    monkeypatch.setattr("uploader.growing.look", lambda _root, path: hidden(path, OSError(116, "Stale file handle")))
    assert (log.after(1), log.strange) == ([], [])
    assert (log.after(PATIENCE_SECONDS - 1), log.growing.waiting) == ([], 1)
    assert (log.after(1), log.growing.waiting) == ([], 0)
    assert log.strange == ["something that cannot be looked at (Stale file handle)"]


def test_one_that_cannot_be_read_is_left_to_its_delivery(log: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("one\nhal")
    log.notice()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    assert log.after(1) == [7]


def test_an_event_file_has_no_lines(tmp_path: Path) -> None:
    log = Logbook(tmp_path, "events.out.tfevents.1")
    log.append("a\nb")
    log.notice()
    assert log.after(1) == [3]
