"""What the documents list is what the code has: variables, states, errors, events."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from handler.trainer import _NEVER, _PASSED
from shared.contract.session import Outcome, Phase
from shared.errors import ErrorCode
from shared.settings import Settings, read_settings
from tests.docs.documents import PAGES, PROJECT, README, Page, page, quoted
from uploader.commands.codes import ExitCode
from uploader.settle import Proof
from uploader.stage import Stage
from uploader.states import MOVES, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED = {"SUPABASE_URL": "https://project.supabase.co", "SUPABASE_SERVICE_KEY": "key"}


class Recording(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]  # settings ask for text
        self.asked.add(key)
        return super().get(key, default or "")


def variables() -> dict[str, list[str]]:
    """Return the defaults that the README's table shows, by variable."""
    return {quoted(row[0])[0]: quoted(row[1]) for row in README.table("variable")}


def settings(volume: Path, **environ: str) -> Settings:
    return read_settings({**REQUIRED, **environ}, volume)


def test_the_table_of_variables_is_what_the_settings_read() -> None:
    environ = Recording(dict(REQUIRED))
    read_settings(environ)
    assert environ.asked - {"RUNPOD_POD_ID"} == set(variables())


@pytest.mark.parametrize("mounted", [True, False], ids=["volume", "no volume"])
@pytest.mark.parametrize("name", sorted(set(variables()) - set(REQUIRED)))
def test_the_default_in_the_table_is_the_default(name: str, mounted: bool, tmp_path: Path) -> None:
    volume = tmp_path if mounted else tmp_path / "none"
    root = {"TRAINING_ROOT": str(tmp_path / "training")} if name == "DRAIN_SECONDS" else {}
    shown = variables()[name] or [""]
    written = {name: (shown[0] if mounted else shown[-1]).replace("/runpod-volume", str(volume))}
    assert settings(volume, **root, **written) == settings(volume, **root)


def test_a_variable_without_which_nothing_works_is_called_required() -> None:
    assert {quoted(row[0])[0] for row in README.table("variable") if row[1] == "required"} == set(REQUIRED)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_variable_that_a_page_names_is_one_that_something_here_reads(path: Path) -> None:
    name = re.compile(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b")
    shown = {found for code in Page(path).code() for found in name.findall(code)}
    packages = ("handler", "uploader", "shared", "local", "bench", "examples")
    files = [file for package in packages for file in (PROJECT / package).rglob("*.py")]
    files += [PROJECT / other for other in ("Makefile", "Dockerfile", "supervisord.conf", "supervisord.pod.conf")]
    known = {found for file in files for found in name.findall(file.read_text())}
    assert shown <= known


def edges(diagram: str) -> set[tuple[str, str]]:
    """Return the arrows of a state diagram."""
    lines = [line.partition(":")[0] for line in diagram.splitlines() if "-->" in line]
    found = {(start.strip(), end.strip()) for start, _, end in (line.partition("-->") for line in lines)}
    return {(start, end) for start, end in found if start != "[*]"}


def test_the_drawn_moves_of_a_file_are_the_allowed_ones() -> None:
    assert edges(page("states").blocks("mermaid")[0]) == {(old, new) for old, news in MOVES.items() for new in news}
    assert [quoted(row[0])[0] for row in page("states").table("state")] == list(State)


def test_the_drawn_stages_of_a_run_are_the_carriers() -> None:
    drawn = edges(page("states").blocks("mermaid")[1])
    assert {stage for edge in drawn for stage in edge} == set(Stage)
    assert [quoted(row[0])[0] for row in page("states").table("stage")] == list(Stage)


def test_proofs_phases_and_outcomes_are_all_named() -> None:
    assert [quoted(row[0])[0] for row in page("states").table("proof")] == list(Proof)
    phases, _, outcomes = (
        page("states").text.rpartition("## A run, as the handler sees it")[2].partition("the outcome:")
    )
    assert [word for word in quoted(phases) if word in set(Phase)][: len(Phase)] == list(Phase)
    assert quoted(outcomes) == list(Outcome)


def test_every_error_code_is_explained_once() -> None:
    shown = [quoted(row[0])[0] for row in page("errors").table("error_code")]
    assert sorted(shown) == sorted(ErrorCode)


# Of no session, or told before there is one.
WITHOUT_SESSION = {
    *("ready", "stopped", "another_handler_works_here", "another_uploader_works_here", "beat_not_written"),
    *("disk_nearly_full", "disk_has_room", "room_not_made", "runs_not_listed", "settings_read_again"),
    *("settings_not_read", "storage_down", "storage_back", "runpod_away", "job_refused", "object_damaged"),
    *("taken_job_not_read", "object_came_wrong", "object_gone"),
}


def test_every_error_code_has_its_place_in_troubleshooting() -> None:
    headings = re.findall(r"^### `(\w+)`$", page("troubleshooting").text, re.MULTILINE)
    shown = [quoted(row[0])[0] for row in page("errors").table("error_code")]
    assert headings == shown
    for code in ErrorCode:
        section = page("troubleshooting").text.partition(f"### `{code}`\n")[2].partition("\n#")[0]
        assert len(section.split()) > 5, code


def events() -> Iterator[tuple[str, str, set[str | None]]]:
    """Yield every event that the code logs, with the program that does, and the names of its fields."""
    for program in ("handler", "uploader"):
        for path in (PROJECT / program).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (name := _event(node)):
                    yield name, program, {keyword.arg for keyword in node.keywords}


def _event(call: ast.Call) -> str | None:
    function = call.func
    is_log = (
        isinstance(function, ast.Attribute)
        and function.attr in {"info", "warning", "error", "exception"}
        and isinstance(function.value, ast.Name)
        and function.value.id.strip("_") == "log"
    )
    first = call.args[0] if is_log and call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def test_every_line_of_the_log_is_explained() -> None:
    programs: dict[str, set[str]] = {}
    for name, program, _ in events():
        programs.setdefault(name, set()).add(program)
    logged = {name: "both" if len(where) == 2 else where.pop() for name, where in programs.items()}
    assert {quoted(row[0])[0]: row[1] for row in page("operations").table("event")} == logged


def test_every_line_says_which_session_or_job_it_is_about() -> None:
    nameless = {name for name, _, fields in events() if not fields & {"session", "job"}}
    assert nameless == WITHOUT_SESSION


def test_every_exit_code_of_the_uploader_is_explained() -> None:
    assert [int(row[1]) for row in page("operations").table("process") if row[0] == "uploader"] == list(ExitCode)


def checks() -> set[str]:
    """Return the name of every check that the doctor makes."""
    modules = (*(PROJECT / "uploader" / "doctor").glob("*.py"), PROJECT / "uploader" / "commands" / "doctor.py")
    calls = [node for path in modules for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in {"Check", "_told"}]
    return {str(first.value) for call in named if isinstance(first := call.args[0], ast.Constant)}


def test_every_check_of_the_doctor_is_explained() -> None:
    assert {quoted(row[0])[0] for row in page("operations").table("check")} == checks()


def test_the_variables_that_the_trainer_sees_are_the_ones_in_the_allowlist() -> None:
    section = page("operations").text.partition("## What the trainer sees")[2].partition("\n## ")[0]
    allowed, _, _ = section.partition("and what")
    assert set(quoted(allowed)) == set(_PASSED)
    refused = section.rpartition("Nothing lets")[2]
    assert set(quoted(refused)) <= set(_NEVER)
