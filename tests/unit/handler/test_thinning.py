"""A log that a person wants to read: all ordinary lines, and a bar now and then."""

from __future__ import annotations

from handler.console import Line, LineReader
from handler.thinning import Thinning, flush, thin
from tests.unit.handler.toolkits import LOGS


def shown(*lines: Line, memory: Thinning | None = None) -> list[str]:
    memory = memory or Thinning()
    texts: list[str] = []
    for line in lines:
        memory, more = thin(memory, line)
        texts += more
    return [*texts, *flush(memory)[1]]


def bar(step: int, elapsed: str = "00:01", total: int = 1000, name: str = "lora") -> Line:
    return Line(f"{name}: {step * 100 // total:3}%|#| {step}/{total} [{elapsed}<01:00,  1.00it/s]", redraw=True)


def test_a_bar_shows_first_each_five_percent_each_quarter_of_a_minute_and_last() -> None:
    lines = [bar(step) for step in range(121)]
    assert shown(*lines) == [bar(0).text, bar(50).text, bar(100).text, bar(120).text]
    slow = [bar(step, f"00:{step:02}") for step in range(40)]
    assert shown(*slow) == [slow[i].text for i in (0, 15, 30, 39)]


def test_the_last_drawing_comes_before_an_ordinary_line_and_only_once() -> None:
    assert shown(bar(1), bar(2), bar(3), Line("Saving at step 3"), Line("Saved"), bar(4)) == [
        bar(1).text,
        bar(3).text,
        "Saving at step 3",
        "Saved",
        bar(4).text,
    ]


def test_the_next_bar_of_the_same_name_shows_from_its_beginning() -> None:
    lines = [bar(0, total=2, name="Images"), bar(2, total=2, name="Images")]
    assert shown(*lines, *lines) == [line.text for line in (*lines, *lines)]


def test_bars_that_take_turns_are_thinned_each_by_itself() -> None:
    lines = [bar(step, name=name) for step in range(20) for name in ("a", "b")]
    assert shown(*lines) == [
        bar(0, name="a").text,
        bar(0, name="b").text,
        bar(19, name="a").text,
        bar(19, name="b").text,
    ]


def test_redraws_of_another_kind_show_only_their_last() -> None:
    assert shown(Line("download 1%", redraw=True), Line("download 2%", redraw=True), Line("done")) == [
        "download 2%",
        "done",
    ]


def test_blank_lines_never_pile_up() -> None:
    assert shown(Line(""), Line("a"), Line(""), Line(""), Line("b")) == ["a", "", "b"]


def test_many_bars_are_not_remembered_for_ever() -> None:
    memory = Thinning()
    for number in range(100):
        memory, _ = thin(memory, bar(1, name=f"file {number}"))
    assert len(memory.bars) == 16


def test_a_real_log_keeps_every_ordinary_line_and_few_drawings() -> None:
    lines = LineReader().feed((LOGS / "success.out").read_bytes())
    texts = shown(*lines)
    ordinary = [line.text for line in lines if not line.redraw and line.text and "%|" not in line.text]
    assert [text for text in texts if text and "%|" not in text] == ordinary
    assert sum(text.startswith("tiny_lora:") for text in texts) < sum(
        line.text.startswith("tiny_lora:") for line in lines
    )
    assert texts.index("Saving at step 10") == texts.index(next(text for text in texts if " 10/40 [00:03<" in text)) + 1
