from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.storage.body import BytesBody, FileRange
from shared.storage.errors import StorageError, Trouble

DESCRIPTORS = Path("/proc/self/fd")
DATA = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("length", [0, 1, 65536, 65537, 200_000])
def test_small_content_comes_in_blocks_and_again(length: int) -> None:
    counted: list[int] = []
    body = BytesBody(DATA[:length], block=65536, throttle=counted.append)
    assert body.size == length
    for _ in range(2):
        blocks = list(body.blocks())
        assert b"".join(blocks) == DATA[:length]
        assert all(0 < len(block) <= 65536 for block in blocks)
    assert sum(counted) == 2 * length


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 10), (7, 1000), (255_000, 1000), (256_000, 0)])
def test_a_range_is_read_from_a_path_and_from_an_open_file(path: Path, start: int, length: int) -> None:
    with path.open("rb") as file:
        for source in (path, file):
            body = FileRange(source, start, length, block=300)
            assert body.size == length
            for _ in range(2):
                blocks = list(body.blocks())
                assert b"".join(blocks) == DATA[start : start + length]
                assert all(0 < len(block) <= 300 for block in blocks)
        assert file.tell() == 0


def test_threads_share_an_open_file(path: Path) -> None:
    with path.open("rb") as file, ThreadPoolExecutor(8) as pool:
        starts = range(0, len(DATA), 1000)
        parts = pool.map(lambda start: b"".join(FileRange(file, start, 1000, block=64).blocks()), starts)
        assert b"".join(parts) == DATA


def test_the_tap_sees_each_block_after_the_throttle_and_before_it_goes(path: Path) -> None:
    seen: list[object] = []
    body = FileRange(path, 0, 5, block=2, tap=seen.append, throttle=seen.append)
    seen.extend(("sent", block) for block in body.blocks())
    first, second, third = DATA[:2], DATA[2:4], DATA[4:5]
    assert seen == [2, first, ("sent", first), 2, second, ("sent", second), 1, third, ("sent", third)]


def test_a_file_that_ends_early_is_another_file(path: Path) -> None:
    sent: list[bytes] = []
    with pytest.raises(StorageError) as caught:
        sent.extend(FileRange(path, 255_000, 2000, block=300).blocks())
    assert caught.value.trouble is Trouble.CHANGED
    assert not caught.value.transient
    assert str(path) in caught.value.sentence
    assert "256000" in caught.value.sentence
    assert b"".join(sent) == DATA[255_000:]


def test_a_file_that_is_gone_is_the_disks_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(FileRange(tmp_path / "none", 0, 1).blocks())


def test_a_body_that_is_given_up_leaves_no_file_open(path: Path) -> None:
    before = len(list(DESCRIPTORS.iterdir()))
    blocks = FileRange(path, 0, 1000, block=1).blocks()
    assert next(blocks) == DATA[:1]
    assert len(list(DESCRIPTORS.iterdir())) == before + 1
    del blocks
    assert len(list(DESCRIPTORS.iterdir())) == before
