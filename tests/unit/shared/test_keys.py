from __future__ import annotations

import os
import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import keys

_TAKEN = re.compile(r"[A-Za-z0-9_!\-.*'()&$@=;:+,? /]*")

# What a file system takes as a name: bytes that need not be UTF-8.
segments = (
    st.binary(min_size=1, max_size=255)
    .filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in {b".", b".."})
    .map(os.fsdecode)
)
paths = st.lists(segments, min_size=1, max_size=6).map("/".join)


@given(paths)
def test_escaping_is_reversible(path: str) -> None:
    assert keys.unescape(keys.escape(path)) == path


@given(paths, paths)
def test_different_paths_get_different_keys(one: str, other: str) -> None:
    assert (keys.escape(one) == keys.escape(other)) is (one == other)


@given(paths)
def test_a_key_holds_only_what_storage_takes(path: str) -> None:
    key = keys.disambiguate(keys.fit(keys.escape(path)), path)
    assert _TAKEN.fullmatch(key)
    assert {".", "..", ""}.isdisjoint(key.split("/"))


@given(paths, st.integers(0, keys.MAX_KEY // 2))
def test_a_key_is_never_too_long_with_its_prefix(path: str, room: int) -> None:
    prefix = "p" * room
    key = keys.fit(keys.escape(path), prefix)
    assert len(prefix) + len(key) <= keys.MAX_KEY
    assert all(len(segment) <= keys.MAX_SEGMENT for segment in key.split("/"))


@given(paths)
def test_fitting_leaves_what_fits_and_is_stable(path: str) -> None:
    key = keys.fit(keys.escape(path))
    assert keys.fit(key) == key
    if len(keys.escape(path)) <= keys.MAX_SEGMENT:
        assert key == keys.escape(path)


@given(paths, paths)
def test_two_files_that_meet_at_one_key_are_told_apart(one: str, other: str) -> None:
    if one != other:
        assert keys.disambiguate("samples/a.png", one) != keys.disambiguate("samples/a.png", other)


@given(paths, paths)
def test_a_mark_is_never_what_a_name_is_escaped_to(path: str, other: str) -> None:
    assert keys.disambiguate(keys.escape(path), path) != keys.escape(other)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("samples/a b.png", "samples/a b.png"),
        ("ü.png", "=C3=BC.png"),
        ("a=b#c%.png", "a=3Db=23c=25.png"),
        ("..", "=2E=2E"),
        ("a/./b", "a/=2E/b"),
        (os.fsdecode(b"\xff"), "=FF"),
    ],
)
def test_examples(path: str, key: str) -> None:
    assert keys.escape(path) == key


def test_the_suffix_outlives_all_shortening() -> None:
    assert keys.fit("checkpoints/" + "x" * 300 + ".safetensors").endswith(".safetensors")
    assert keys.disambiguate("samples/a.tar.png", "p").endswith(".png")
    assert keys.disambiguate("samples/a.png", "p").startswith("samples/a.tar"[:9] + "=-")


def test_no_escape_is_cut_in_the_middle() -> None:
    for room in range(190, 201):
        shortened = keys.fit("x" * room + "=C3=BC" * 20)
        assert re.fullmatch(r"x*(=[0-9A-F]{2})*=-[0-9a-f]{16}", shortened)


def test_joining_leaves_no_empty_segment() -> None:
    assert keys.join("", "a", "/b/", "") == "a/b"
    assert keys.join("", "") == ""


@given(paths, paths, st.integers(0, keys.MAX_KEY // 2))
def test_what_is_shortened_stays_told_apart(one: str, other: str, room: int) -> None:
    below = "p" * room
    assert (keys.fit(keys.escape(one), below) == keys.fit(keys.escape(other), below)) is (one == other)


def test_folders_that_are_pressed_together_stay_told_apart() -> None:
    one, other = ("outputs/" + mark.join(["deep"] * 200) + ".txt" for mark in ("/", "_"))
    assert keys.fit(one) != keys.fit(other)
    assert keys.fit("outputs/a/b.txt", "p" * 890) != keys.fit("outputs/a_b.txt", "p" * 890)


@given(paths, st.lists(segments, max_size=3).map("/".join), segments)
def test_a_key_lies_below_its_prefix_and_nowhere_else(path: str, folder: str, name: str) -> None:
    prefix = keys.join(keys.escape(folder), keys.escape_segment(name))
    key = keys.join(prefix, "outputs", keys.escape(path))
    assert key.startswith(f"{prefix}/outputs/")
    assert posixpath.normpath(key) == key
    assert posixpath.normpath(unquote(key)) == unquote(key)
