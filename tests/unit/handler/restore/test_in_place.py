"""A folder in which a training was interrupted: ai-toolkit must take the newest checkpoint that was saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from handler.expected import Expected
from handler.restore import put_right
from shared.contract.session import Saved
from tests.unit.uploader.harbour import safetensors

if TYPE_CHECKING:
    from pathlib import Path

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


def newest(output: Path) -> str:
    """Return what ai-toolkit would resume from."""
    return max((output / "cats").glob("cats*"), key=lambda path: path.stat().st_ctime_ns).name


@pytest.mark.guarantee("resumed-training", fault="the trainer was killed while it wrote a checkpoint")
def test_the_newest_saved_checkpoint_becomes_the_newest_of_all(tmp_path: Path) -> None:
    first, second = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "cats_000000020.safetensors")
    place(tmp_path, "cats_000000030.safetensors", b"torn")
    result = put_right(tmp_path, [saved(first, 10), saved(second, 20)], EXPECTED)
    assert (result.step, result.damaged) == (20, ())
    assert newest(tmp_path) == second.name


def test_a_saved_one_that_is_damaged_or_was_rewritten_is_passed_over(tmp_path: Path) -> None:
    first, second = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "cats_000000020.safetensors")
    last = place(tmp_path, "cats.safetensors")
    known = [saved(first, 10), saved(second, 20), saved(last, 30)]
    second.write_bytes(b"\0" * 40)
    os.utime(last, (last.stat().st_mtime + 60, last.stat().st_mtime + 60))
    wait_for_a_tick(last)
    assert put_right(tmp_path, known, EXPECTED).step == 10
    assert newest(tmp_path) == first.name


def test_without_any_whole_one_the_torn_ones_are_out_of_the_way(tmp_path: Path) -> None:
    torn = place(tmp_path, "cats_000000010.safetensors", b"torn")
    result = put_right(tmp_path, [], EXPECTED)
    assert (result.step, result.damaged) == (None, ("cats/cats_000000010.safetensors",))
    assert list((tmp_path / "cats").glob("cats*")) == []
    [kept] = (tmp_path / "cats" / ".set-aside").iterdir()
    assert kept.read_bytes() == b"torn"
    assert not torn.exists()


def test_both_halves_are_made_the_newest(tmp_path: Path) -> None:
    halves = [place(tmp_path, f"cats_000000010{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    torn = place(tmp_path, "cats_000000020_high_noise.safetensors", b"torn")
    before = torn.stat().st_ctime_ns
    assert put_right(tmp_path, [saved(half, 10) for half in halves], EXPECTED).step == 10
    assert all(half.stat().st_ctime_ns > before for half in halves)


@pytest.mark.guarantee("resumed-training", fault="one half of the newest checkpoint is damaged on the disk")
def test_a_half_whose_other_half_is_damaged_is_passed_over(tmp_path: Path) -> None:
    older = [place(tmp_path, f"cats_000000010{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    newer = [place(tmp_path, f"cats_000000020{half}.safetensors") for half in ("_high_noise", "_low_noise")]
    known = [saved(half, 10) for half in older] + [saved(half, 20) for half in newer]
    newer[0].write_bytes(b"torn")
    wait_for_a_tick(newer[0])
    before = newer[0].stat().st_ctime_ns
    result = put_right(tmp_path, known, EXPECTED)
    assert (result.whole, result.step) == (True, 10)
    assert all(half.stat().st_ctime_ns > before for half in older)


def test_a_folder_that_was_begun_once_more_is_passed_over(tmp_path: Path) -> None:
    first = place(tmp_path, "cats_000000010.safetensors")
    part = place(tmp_path, "cats_000000020/transformer/model.safetensors")
    folder = part.parent.parent
    known = [saved(first, 10), saved(folder, 20)]
    assert put_right(tmp_path, known, EXPECTED).step == 20
    assert newest(tmp_path) == folder.name
    os.utime(part, (part.stat().st_mtime + 60, part.stat().st_mtime + 60))
    assert put_right(tmp_path, known, EXPECTED).step == 10


@pytest.mark.guarantee(
    "resumed-training", fault="the trainer was killed in the next folder after one that was restored"
)
def test_a_folder_that_was_restored_file_by_file_becomes_the_newest_of_all(tmp_path: Path) -> None:
    part = place(tmp_path, "cats_000000010/transformer/model.safetensors")
    known = [Saved(path="cats/cats_000000010/transformer/model.safetensors", step=10, at=part.stat().st_mtime)]
    torn = place(tmp_path, "cats_000000020/transformer/model.safetensors", b"torn")
    wait_for_a_tick(torn.parent.parent)
    assert put_right(tmp_path, known, EXPECTED).step == 10
    assert newest(tmp_path) == "cats_000000010"


def test_an_optimizer_of_another_step_is_set_aside_and_its_own_stays(tmp_path: Path) -> None:
    weights, optimizer = place(tmp_path, "cats_000000010.safetensors"), place(tmp_path, "optimizer.pt", b"state")
    known = [saved(weights, 10), saved(optimizer, 10)]
    assert put_right(tmp_path, known, EXPECTED).damaged == ()
    assert optimizer.exists()
    later = place(tmp_path, "cats_000000020.safetensors")
    assert put_right(tmp_path, [*known, saved(later, 20)], EXPECTED).damaged == ("cats/optimizer.pt",)
    assert not optimizer.exists()


def test_nothing_there_is_a_beginning(tmp_path: Path) -> None:
    assert not put_right(tmp_path, [], EXPECTED).whole
