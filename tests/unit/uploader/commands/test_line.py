"""The command line teaches what it can do: every example works, every help fits a terminal, a shell can ask."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import ErrorCode
from uploader.commands.codes import ExitCode, code_of
from uploader.commands.line import parser
from uploader.commands.manual import MANUAL

PROJECT = Path(__file__).resolve().parents[4]
BIN = Path(sys.executable).parent


def help_of(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        parser().parse_args([*command.split(), "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(MANUAL))
def test_every_example_of_the_help_is_one_that_works(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(command, monkeypatch, capsys)
    examples = re.findall(r"^  python -m uploader (.*?)(?: \|.*)?$", told.partition("examples:")[2], re.MULTILINE)
    assert examples
    for example in examples:
        assert parser().parse_args(shlex.split(example)).command == command


@pytest.mark.parametrize("command", ["", *sorted(MANUAL)])
def test_the_help_fits_a_terminal_of_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert max(map(len, help_of(command, monkeypatch, capsys).splitlines())) <= 80


def test_the_manual_has_every_command_and_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of("", monkeypatch, capsys)
    assert set(re.findall(r"^    (\w+)  ", told, re.MULTILINE)) == set(MANUAL)


@pytest.mark.parametrize("command", sorted(MANUAL))
def test_the_help_tells_what_the_exit_codes_mean(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(command, monkeypatch, capsys).partition("exit codes:")[2]
    codes = [int(code) for code in re.findall(r"^  (\d+)  ", told, re.MULTILINE)]
    wrong = [] if MANUAL[command].wrong is None else [ExitCode.WRONG]
    assert codes == [ExitCode.FINE, *wrong, ExitCode.USAGE, ExitCode.LATER, ExitCode.INTERRUPTED]


def test_what_may_be_otherwise_later_is_told_apart_from_what_somebody_must_mend() -> None:
    later = {code for code in ErrorCode if code_of(code) is ExitCode.LATER}
    assert later == {ErrorCode.STORAGE_UNREACHABLE, ErrorCode.DISK_FULL, ErrorCode.BUSY}
    assert code_of(ErrorCode.STORAGE_DENIED) is ExitCode.USAGE


def completions(line: str) -> list[str]:
    """Return what bash would offer at the end of ``line``."""
    words = line.split(" ")
    script = f"""
        eval "$(activate-global-python-argcomplete --dest=-)"
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_TYPE=9
        _python_argcomplete_global python
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=PROJECT,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "SUPABASE_SERVICE_KEY": "canary-of-the-key"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return [word.strip() for word in done.stdout.splitlines() if word.strip()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("python -m uploader ", sorted(MANUAL)),
        ("python -m uploader sta", ["status"]),
        ("python -m uploader status --", ["--follow", "--json", "--no-follow", "--watch"]),
        ("python -m uploader verify --d", ["--deep"]),
    ],
)
def test_a_shell_offers_commands_and_options(line: str, offered: list[str]) -> None:
    assert sorted(set(completions(line)) - {"-h", "--help"}) == offered
