"""Bytes of any kind, cut anywhere, become the same clean lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.console import MAX_LINE_BYTES, Line, LineReader, clean
from tests.unit.handler.toolkits import LOGS

if TYPE_CHECKING:
    from pathlib import Path


def read(*chunks: bytes) -> list[Line]:
    reader = LineReader()
    return [line for chunk in chunks for line in reader.feed(chunk)] + reader.finish()


def test_ordinary_lines_stay_as_they_are() -> None:
    assert read(b"Dataset: /data\n  -  Found 6 images\n\n") == [
        Line("Dataset: /data"),
        Line("  -  Found 6 images"),
        Line(""),
    ]


def test_drawings_over_each_other_are_redraws_and_blank_ones_vanish() -> None:
    assert read(b"\rbar 1\rbar 2\r      \r\n\x1b[Adone\n") == [
        Line("bar 1", redraw=True),
        Line("bar 2", redraw=True),
        Line("done"),
    ]


def test_a_carriage_return_before_a_newline_belongs_to_the_newline() -> None:
    assert read(b"one\r", b"\ntwo\r\n") == [Line("one"), Line("two")]


def test_escape_sequences_and_control_characters_vanish() -> None:
    assert clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07tab\there\x00\x08 \x1b(B") == "red tab\there"


def test_invalid_bytes_and_split_characters_never_fail() -> None:
    block = "█".encode()
    assert read(b"a" + block[:1], block[1:] + b"b\n", b"\xff\xfe\n") == [Line("a█b"), Line("��")]


def test_a_line_without_end_is_bounded_and_says_so() -> None:
    reader = LineReader()
    for _ in range(10):
        assert reader.feed(b"x" * MAX_LINE_BYTES) == []
    (line,) = reader.feed(b"\n")
    assert line.text == "x" * MAX_LINE_BYTES + f" … ({9 * MAX_LINE_BYTES} bytes more)"
    assert reader.consumed == reader.fed == 10 * MAX_LINE_BYTES + 1


def test_what_is_not_complete_can_be_looked_at_and_is_not_consumed() -> None:
    reader = LineReader()
    reader.feed(b"one\n\rbar 5")
    assert reader.pending() == Line("bar 5", redraw=True)
    assert reader.consumed == 5
    assert reader.finish() == [Line("bar 5", redraw=True)]


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.out")), ids=lambda path: path.stem)
def test_a_real_log_reads_the_same_byte_by_byte(log: Path) -> None:
    data = log.read_bytes()
    whole = read(data)
    assert len(whole) > 80
    assert read(*(data[i : i + 1] for i in range(len(data)))) == whole


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\x1b[A", "█".encode()]), max_size=40), st.data())
def test_any_cut_gives_the_same_lines_and_an_offset_to_go_on_from(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    first = LineReader()
    before = first.feed(stream[:cut])
    second = LineReader(after_return=first.after_return)
    after = second.feed(stream[first.consumed :]) + second.finish()
    assert before + after == read(stream)
