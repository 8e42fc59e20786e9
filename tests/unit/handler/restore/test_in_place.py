"""A folder in which a training was interrupted: ai-toolkit must take the newest checkpoint that was saved."""

from __future__ import annotations

import errno
import os
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handler.expected import Expected
from handler.restore import Restored, put_right
from handler.saves import written
from shared.contract.session import Saved
from shared.errors import ErrorCode, FerryError
from tests.unit.uploader.harbour import safetensors

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPECTED = Expected("cats")


def place(output: Path, name: str, content: bytes | None = None) -> Path:
    path = output / "cats" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors() if content is None else content)
    wait_for_a_tick(path)
    return path


def wait_for_a_tick(path: Path) -> None:
    """Return when a file that is changed now gets a later ctime than ``path``: the kernel counts in milliseconds."""
    probe = path.parent.parent / "probe"
    probe.touch()
    while probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        probe.touch()


def saved(path: Path, step: int) -> Saved:
    return Saved(path=f"cats/{path.name}", step=step, at=path.stat().st_mtime)


class Stop(threading.Event):
    """Notes how often somebody paused, and lets nobody wait."""

    pauses = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses += 1
        return self.is_set()


def righted(output: Path, known: Sequence[Saved], expected: Expected, stop: Stop | None = None) -> Restored:
    return put_right(output, known, expected, stop or Stop())


def newest(output: Path) -> str:
    """Return what ai-toolkit would resume from."""
    return max((output / "cats").glob("cats*"), key=lambda path: path.stat().st_ctime_ns).name


@pytest.mark.guarantee("resumed-training", fault="the trainer was killed while it wrote a checkpoint")
def test_the_newest_saved_checkpoint_becomes_the_newest_of_all(tmp_path: Path) -> None:
    first, second = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "cats_000000020.safetensors")
    place(tmp_path, "cats_000000030.safetensors", b"torn")
    result = righted(tmp_path, [saved(first, 10), saved(second, 20)], EXPECTED)
    assert (result.step, result.damaged) == (20, ())
    assert newest(tmp_path) == second.name


def test_a_saved_one_that_is_damaged_or_was_rewritten_is_passed_over(tmp_path: Path) -> None:
    first, second = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "cats_000000020.safetensors")
    last = place(tmp_path, "cats.safetensors")
    known = [saved(first, 10), saved(second, 20), saved(last, 30)]
    second.write_bytes(b"\0" * 40)
    os.utime(last, (last.stat().st_mtime + 60, last.stat().st_mtime + 60))
    wait_for_a_tick(last)
    assert righted(tmp_path, known, EXPECTED).step == 10
    assert newest(tmp_path) == first.name


def test_without_any_whole_one_the_torn_ones_are_out_of_the_way(tmp_path: Path) -> None:
    torn = place(tmp_path, "cats_000000010.safetensors", b"torn")
    result = righted(tmp_path, [], EXPECTED)
    assert (result.step, result.damaged) == (None, ("cats/cats_000000010.safetensors",))
    assert list((tmp_path / "cats").glob("cats*")) == []
    [kept] = (tmp_path / "cats" / ".set-aside").iterdir()
    assert kept.read_bytes() == b"torn"
    assert not torn.exists()


def test_both_halves_are_made_the_newest(tmp_path: Path) -> None:
    halves = [place(tmp_path, f"cats_000000010{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    torn = place(tmp_path, "cats_000000020_high_noise.safetensors", b"torn")
    before = torn.stat().st_ctime_ns
    assert righted(tmp_path, [saved(half, 10) for half in halves], EXPECTED).step == 10
    assert all(half.stat().st_ctime_ns > before for half in halves)


@pytest.mark.guarantee("resumed-training", fault="one half of the newest checkpoint is damaged on the disk")
def test_a_half_whose_other_half_is_damaged_is_passed_over(tmp_path: Path) -> None:
    older = [place(tmp_path, f"cats_000000010{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    newer = [place(tmp_path, f"cats_000000020{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    known = [saved(half, 10) for half in older] + [saved(half, 20) for half in newer]
    newer[0].write_bytes(b"torn")
    wait_for_a_tick(newer[0])
    before = newer[0].stat().st_ctime_ns
    result = righted(tmp_path, known, EXPECTED)
    assert (result.whole, result.step) == (True, 10)
    assert all(half.stat().st_ctime_ns > before for half in older)


def test_a_folder_that_was_begun_once_more_is_passed_over(tmp_path: Path) -> None:
    first = place(tmp_path, "cats_000000010.safetensors")
    part = place(tmp_path, "cats_000000020/transformer/model.safetensors")
    folder = part.parent.parent
    known = [saved(first, 10), saved(folder, 20)]
    assert righted(tmp_path, known, EXPECTED).step == 20
    assert newest(tmp_path) == folder.name
    os.utime(part, (part.stat().st_mtime + 60, part.stat().st_mtime + 60))
    assert righted(tmp_path, known, EXPECTED).step == 10


@pytest.mark.guarantee(
    "resumed-training", fault="the trainer was killed in the next folder after one that was restored"
)
def test_a_folder_that_was_restored_file_by_file_becomes_the_newest_of_all(tmp_path: Path) -> None:
    part = place(tmp_path, "cats_000000010/transformer/model.safetensors")
    known = [Saved(path="cats/cats_000000010/transformer/model.safetensors", step=10, at=part.stat().st_mtime)]
    torn = place(tmp_path, "cats_000000020/transformer/model.safetensors", b"torn")
    wait_for_a_tick(torn.parent.parent)
    assert righted(tmp_path, known, EXPECTED).step == 10
    assert newest(tmp_path) == "cats_000000010"


def test_an_optimizer_of_another_step_is_set_aside_and_its_own_stays(tmp_path: Path) -> None:
    weights, optimizer = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "optimizer.pt", b"state")
    known = [saved(weights, 10), saved(optimizer, 10)]
    assert righted(tmp_path, known, EXPECTED).damaged == ()
    assert optimizer.exists()
    later = place(tmp_path, "cats_000000020.safetensors")
    assert righted(tmp_path, [*known, saved(later, 20)], EXPECTED).damaged == ("cats/optimizer.pt",)
    assert not optimizer.exists()


def test_nothing_there_is_a_beginning(tmp_path: Path) -> None:
    assert not righted(tmp_path, [], EXPECTED).whole


def stutter(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, at: int, times: int = 1) -> None:
    """Have the disk refuse to tell of the file ``name``: from the look ``at`` on, so many ``times``."""
    stat, looks = Path.stat, count()

    def refusing(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == name and at <= next(looks) < at + times:
            raise OSError(number, os.strerror(number), str(self))
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refusing)


@pytest.mark.guarantee("resumed-training", fault="the volume does not answer for a moment while a training is resumed")
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("only", [False, True])
def test_a_disk_that_stutters_says_nothing_against_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, *, only: bool
) -> None:
    older = [] if only else [saved(place(tmp_path, "cats_000000010.safetensors"), 10)]
    newer = place(tmp_path, "cats_000000020.safetensors")
    known, stop = [*older, saved(newer, 20)], Stop()
    stutter(monkeypatch, newer.name, errno.ESTALE, at=at, times=2)
    result = righted(tmp_path, known, EXPECTED, stop)
    assert (result.step, result.damaged) == (20, ())
    assert stop.pauses == 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_disk_that_refuses_for_good_fails_the_resuming_and_sets_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = place(tmp_path, "cats_000000010.safetensors")
    known = [saved(path, 10)]
    monkeypatch.setattr("handler.restore.in_place.PATIENCE_SECONDS", 0.0)
    stutter(monkeypatch, path.name, number, at=0, times=99)
    with pytest.raises(OSError, match=os.strerror(number)):
        righted(tmp_path, known, EXPECTED)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_who_waits_for_a_disk_ends_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place(tmp_path, "cats_000000010.safetensors")
    known, stop = [saved(path, 10)], Stop()
    stop.set()
    stutter(monkeypatch, path.name, errno.EIO, at=0)
    with pytest.raises(FerryError) as ended:
        righted(tmp_path, known, EXPECTED, stop)
    assert ended.value.code is ErrorCode.CANCELLED


@pytest.mark.guarantee("resumed-training", fault="the volume's clock is another than the worker's")
@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_the_volumes_own_clock_is_what_counts(tmp_path: Path, ahead: float) -> None:
    first, second = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "cats_000000020.safetensors")
    known = [
        Saved(path=f"cats/{path.name}", step=step, at=path.stat().st_mtime - ahead, mtime=written(path))
        for path, step in ((first, 10), (second, 20))
    ]
    assert righted(tmp_path, known, EXPECTED).step == 20
    os.utime(second, (second.stat().st_mtime + 60, second.stat().st_mtime + 60))
    assert righted(tmp_path, known, EXPECTED).step == 10
