"""Trouble that ends no training is counted by kind, and its sentences are known again."""

from __future__ import annotations

import pytest

from handler.remarks import Remark, is_told, noticed, told

LINES = (
    "# OOM during training step, skipping batch 1/3 #",
    "loss is nan",
    "Failed to load optimizer state from /o/optimizer.pt",
    "Could not save optimizer",
    "Error processing video: /d/a (1).mp4",
    "Error loading image, skipping and loading a different one: /d/a (1).png (bad)",
    "  -  Found 3 images that are too small",
    "The following part of your input was truncated because CLIP can only handle sequences up to 77 tokens: ['x']",
    "Pretrained lora path from config does not exist: /m/x.safetensors",
    "Skipping validation item, image not found: /d/v.png",
    "Failed to compile model: no compiler",
    "Error while downloading from https://huggingface.co/a/b: timed out",
    "a.py:1: UserWarning: CUDA initialization: CUDA unknown error - this may be due to an incorrect set-up.",
)


@pytest.mark.parametrize("line", LINES)
def test_each_kind_is_noticed_and_told_in_a_sentence(line: str) -> None:
    [remark] = noticed((), line)
    [sentence] = told((remark,))
    assert sentence.endswith(".")
    assert not set("{}") & set(sentence)
    assert is_told(sentence)


def test_repeats_are_counted_and_the_first_is_the_example() -> None:
    remarks: tuple[Remark, ...] = ()
    for number in range(3):
        remarks = noticed(remarks, f"Error processing image: /d/{number}.jpg")
    assert remarks == (Remark(kind="unreadable", times=3, first="/d/0.jpg"),)


def test_the_name_of_a_file_may_hold_brackets() -> None:
    assert [noticed((), LINES[number])[0].first for number in (4, 5)] == ["/d/a (1).mp4", "/d/a (1).png"]


@pytest.mark.parametrize("line", ["", "Saving at step 10", "  -  Found 0 images that are too small"])
def test_ordinary_lines_are_no_trouble(line: str) -> None:
    assert noticed((), line) == ()


def test_other_sentences_are_not_taken_for_remarks_and_unknown_kinds_are_passed_over() -> None:
    assert not is_told("resum is not known and was ignored (did you mean resume?)")
    assert told((Remark(kind="of a later version"),)) == ()
