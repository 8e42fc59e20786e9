"""The commands as a person sees them: colours, bars and tables at a terminal, and none of that in a pipe."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from shared.contract.session import Phase
from tests.scenario.uploader.port import BUCKET, PREFIX, until, write_noise
from tests.scenario.uploader.terminal import at_terminal

if TYPE_CHECKING:
    from tests.scenario.uploader.port import Port

ESCAPE = "\x1b"


def uploaded(line: str) -> int:
    """Return how many files are uploaded, as a line of JSON has it."""
    count: int = json.loads(line)["runs"][0]["uploaded"]["files"]
    return count


def test_status_follows_a_run_to_its_end_and_leaves_the_last_table(harbour: Port) -> None:
    output = harbour.session(phase=Phase.TRAINING).output
    following = harbour.start("status", "--follow", "--json")
    until(lambda: harbour.printed(following), "the first line")
    harbour.start("run")
    write_noise(output / "pictures/samples/a.png", 1000)
    write_noise(output / "pictures/pictures_000000010.ckpt", 20_000_000)
    harbour.drain()
    harbour.session(phase=Phase.CLOSED)
    seen = at_terminal(harbour, "status")
    assert seen.code == 0
    assert ESCAPE in seen.drawn
    last = seen.text.rpartition("run ")[2].splitlines()
    assert last[1].startswith("pictures  finished 0/?")
    assert "2, 19.1 MiB" in last[1]
    until(lambda: uploaded(harbour.printed(following).splitlines()[-1]) == 2, "the line that tells of both files")
    following.send_signal(signal.SIGINT)
    assert harbour.ends(following) == 130
    assert uploaded(harbour.printed(following).splitlines()[0]) == 0


def test_status_in_a_pipe_is_plain(harbour: Port) -> None:
    harbour.session()
    process = harbour.start("status", TERM="xterm-256color")
    assert harbour.ends(process) == 0
    assert ESCAPE not in harbour.printed(process)


def test_who_wants_no_colour_gets_none(harbour: Port) -> None:
    harbour.session()
    seen = at_terminal(harbour, "status", NO_COLOR="1")
    assert f"{ESCAPE}[3" not in seen.drawn
    assert "training_session_1" not in seen.text
    assert "pictures" in seen.text


def test_one_pass_and_a_deep_look_show_bars_that_fit_the_terminal(harbour: Port) -> None:
    write_noise(harbour.watched / "pictures" / "a.bin", 30_000_000)
    place = ("--watch", str(harbour.watched), "--bucket", BUCKET, "--prefix", "run")
    seen = at_terminal(harbour, "once", *place)
    assert seen.code == 0, seen.text
    bars = [line for line in seen.text.splitlines() if line.startswith(f"{PREFIX} ")]
    assert "28.6/28.6 MiB" in bars[-1]
    assert "1 file" in bars[-1]
    assert max(map(len, bars)) <= 80
    assert "Everything is uploaded and verified: 1 file, 28.6 MiB." in seen.text
    deep = at_terminal(harbour, "verify", "--deep", "--bucket", BUCKET, "--prefix", PREFIX, columns=120)
    assert deep.code == 0
    assert f"{BUCKET}/{PREFIX}: 1 of 1 objects are right, by SHA-256." in deep.text
    assert "28.6/28.6 MiB" in deep.text
