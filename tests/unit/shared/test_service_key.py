"""A key in a file is taken up as soon as the file is replaced, and never lost while it holds nonsense."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shared.errors import ErrorCode, FerryError
from shared.service_key import ServiceKey, is_key, read_key

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "old-key-of-the-test", "new-key-of-the-test"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{OLD}\n")
    return path


def replace(file: Path, content: str) -> None:
    fresh = file.with_name("fresh")
    fresh.write_text(content)
    fresh.replace(file)


def test_a_replaced_file_is_the_new_key(file: Path) -> None:
    key = ServiceKey(read_key(file), file)
    assert key.current() == OLD
    replace(file, NEW)
    assert key.current() == NEW
    assert {*key.had} == {OLD, NEW}


def test_a_file_that_is_rewritten_in_place_is_noticed_whatever_its_size(file: Path) -> None:
    key = ServiceKey(read_key(file), file)
    assert key.current() == OLD
    file.write_text(f"{NEW}\n")
    os.utime(file, (1, 1))
    assert key.current() == NEW


def test_a_change_between_the_settings_and_the_first_request_is_noticed(file: Path) -> None:
    read = read_key(file)
    replace(file, NEW)
    assert ServiceKey(read, file).current() == NEW


@pytest.mark.guarantee("nothing-lost", fault="the key's file is empty, gone or nonsense in the middle of its rotation")
@pytest.mark.parametrize("content", ["", "  \n", "two words", "two\nlines", "schlüssel", "\x00", None])
def test_a_file_without_a_key_leaves_the_old_one_in_force_and_says_so_when_asked(
    file: Path, content: str | None
) -> None:
    key = ServiceKey(read_key(file), file)
    file.unlink() if content is None else replace(file, content)
    assert key.current() == OLD
    with pytest.raises(FerryError) as caught:
        key.renew()
    assert caught.value.code is ErrorCode.INVALID_INPUT
    assert caught.value.sentence.startswith(f"SUPABASE_SERVICE_KEY_FILE is '{file}', but it must be a file that holds")
    assert not content or content.strip() == "" or content not in caught.value.sentence
    assert key.current() == OLD
    replace(file, NEW)
    assert key.current() == NEW


def test_reading_again_takes_what_the_times_do_not_show(file: Path) -> None:
    key = ServiceKey(read_key(file), file)
    assert key.current() == OLD
    file.write_text(NEW)
    key._stamp = key._look()
    assert key.current() == OLD
    key.renew()
    assert key.current() == NEW


def test_a_key_that_was_given_stays_what_it_is() -> None:
    key = ServiceKey(OLD)
    key.renew()
    assert key.current() == OLD


def test_a_fifo_and_a_folder_are_no_files_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ValueError, match="a file that holds the key"):
            read_key(path)


@pytest.mark.parametrize(("text", "fits"), [("abc.def-1", True), ("", False), ("a b", False), ("ä", False)])
def test_what_can_be_a_key(text: str, fits: bool) -> None:
    assert is_key(text) is fits
