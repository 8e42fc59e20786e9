"""The three ways of writing a checkpoint, seen while they write."""

import stat
from pathlib import Path

import pytest
from safetensors import SafetensorError

from local.trainer.ferry_trainer.writes import PIECES, Writes

CONTENT = bytes(range(256)) * 100
HALF = len(CONTENT) // 2


def watch(way: str, path: Path) -> list[list[tuple[str, int, bytes]]]:
    """What lies in the folder each time the writer pauses: names, sizes, first bytes."""
    seen: list[list[tuple[str, int, bytes]]] = []

    def pause(_: float) -> None:
        files = sorted(path.parent.iterdir())
        seen.append([(file.name, file.stat().st_size, file.read_bytes().rstrip(b"\0")) for file in files])

    Writes(way, seconds=1, sleep=pause).checkpoint(path, CONTENT)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert len(seen) == PIECES
    return seen


def test_a_growing_file_has_its_name_from_the_start_and_its_size_at_the_end(tmp_path: Path) -> None:
    ((name, size, begin),) = watch("growing", tmp_path / "a.safetensors")[PIECES // 2 - 1]
    assert (name, size) == ("a.safetensors", HALF)
    assert CONTENT.startswith(begin)


def test_a_preallocated_file_has_its_full_size_while_half_of_it_is_missing(tmp_path: Path) -> None:
    ((name, size, begin),) = watch("preallocated", tmp_path / "a.safetensors")[PIECES // 2 - 1]
    assert (name, size) == ("a.safetensors", len(CONTENT))
    assert begin == CONTENT[:HALF].rstrip(b"\0")


def test_a_renamed_file_is_hidden_until_it_is_complete(tmp_path: Path) -> None:
    seen = watch("renamed", tmp_path / "a.safetensors")
    assert all(len(files) == 1 and files[0][0].startswith(".tmp") for files in seen)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o600


@pytest.mark.parametrize("way", ["growing", "preallocated", "renamed"])
def test_a_folder_that_is_gone_is_an_error_as_the_library_words_it(tmp_path: Path, way: str) -> None:
    with pytest.raises(SafetensorError, match=r"I/O error: No such file or directory \(os error 2\)"):
        Writes(way, seconds=0).checkpoint(tmp_path / "gone" / "a.safetensors", CONTENT)


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Writes("renamed", seconds=1, sleep=interrupt).checkpoint(tmp_path / "a.safetensors", CONTENT)
    assert not list(tmp_path.iterdir())
