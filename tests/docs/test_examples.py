"""Every example, command and link of the documents is one that works."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from importlib import import_module
from typing import Any

import pytest

from examples import batch, submit
from handler.answer import MESSAGE, answer
from handler.job import parse_job
from local.__main__ import _COMMANDS
from shared.contract.session import Outcome
from tests.docs.answers import ended
from tests.docs.documents import PAGES, PROJECT, README, Page, quoted
from uploader.commands.line import parser

_PLACEHOLDERS = {"FOLDER": "/", "BUCKET": "bucket", "PREFIX": "prefix"}


def examples() -> list[dict[str, Any]]:
    return [json.loads(block) for block in README.blocks("json")]


def test_the_readmes_job_is_one_that_a_worker_takes() -> None:
    job = parse_job(examples()[0])
    assert job.warnings == ()
    assert job.prefix == examples()[1]["upload_folder"]
    assert job.model_name == examples()[1]["model_name"]
    # What may be left out is explained, and left out of the example.
    assert {quoted(row[0])[0] for row in README.table("field")} == {*examples()[0]["input"], "resume", "link_seconds"}


def test_the_readmes_answer_has_the_keys_of_a_real_one() -> None:
    shown, real = examples()[1], answer(ended(Outcome.FINISHED))
    assert list(shown) == list(real)
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in real.items()}
    assert shown["message"] == MESSAGE


@pytest.mark.parametrize("name", ["test_input.json", ".runpod/tests.json"])
def test_the_jobs_that_come_with_the_project_are_ones_that_a_worker_takes(name: str) -> None:
    content = json.loads((PROJECT / name).read_bytes())
    for event in content.get("tests", [content]):
        assert parse_job(event).warnings == ()


def commands() -> list[str]:
    """Return every ``python -m …`` that is shown anywhere."""
    found = [line for each in PAGES for line in Page(each).commands()]
    return sorted({match for line in found for match in re.findall(r"python -m ([^;|&]+)", line)})


def test_the_commands_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(commands()) > 8
    for command in commands():
        module, *arguments = shlex.split(command.replace('"$(cat test_input.json)"', "JSON"), comments=True)
        match module:
            case "uploader":
                parser().parse_args([_PLACEHOLDERS.get(word, word) for word in arguments])
            case "local":
                with pytest.raises(SystemExit):
                    import_module(_COMMANDS[arguments[0]][0]).main(["--help"])
                assert {word for word in arguments if word.startswith("--")} <= set(capsys.readouterr().out.split())
            case "examples.submit":
                submit.parser().parse_args(arguments)
            case "examples.batch":
                batch.parser().parse_args(arguments)
            case "handler":
                assert set(arguments) <= {"--test_input", "JSON", "--rp_serve_api"}
            case "pytest":
                assert all((PROJECT / path).exists() for path in arguments)
            case _:
                assert not arguments
                assert (PROJECT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_command_of_the_uploader_is_shown() -> None:
    shown = {command.split()[1] for command in commands() if command.startswith("uploader ")}
    assert shown == {path.stem for path in (PROJECT / "uploader" / "commands").glob("*.py") if _is_command(path.stem)}


def _is_command(name: str) -> bool:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([name, "--help"])
    return ended.value.code == 0


def test_the_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    shown = {target for each in PAGES for line in Page(each).commands() for target in re.findall(r"^make (\w+)", line)}
    assert {"demo", "test"} <= shown <= targets


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_links_lead_somewhere(path: Any) -> None:
    for link in Page(path).links():
        file, _, anchor = link.partition("#")
        if "://" in link:
            assert link.startswith("https://")
            continue
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        assert not anchor or anchor in Page(target).anchors(), link


@pytest.mark.parametrize(
    "path",
    [*PAGES, *(PROJECT / name for name in ("Dockerfile", "test_input.json", "docs/demo.svg"))],
    ids=lambda path: path.name,
)
def test_no_page_tells_of_somebodys_own_machine(path: Any) -> None:
    assert not re.search(r"(?<![\w.:-])/(?:home|root|tmp|work|Users|mnt)/", path.read_text("utf-8"))


def test_the_pictures_are_of_modest_size() -> None:
    assert (PROJECT / "docs" / "demo.svg").stat().st_size < 150_000
    assert (PROJECT / "docs" / "samples.png").stat().st_size < 200_000


def test_the_readme_is_short_before_its_reference() -> None:
    before, heading, _ = README.text.partition("\n## The job\n")
    assert heading
    assert 300 <= len(before.split()) <= 600


def test_the_version_is_in_the_changes() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    changes = (PROJECT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(\S+)\] - (?:\d{4}-\d\d-\d\d|unreleased)$", changes, re.MULTILINE)
    assert versions[0] == project["version"]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", changes, re.MULTILINE)) <= kinds


def test_the_way_in_leads_to_every_page() -> None:
    way = PROJECT / "docs" / "README.md"
    led = {(way.parent / link.partition("#")[0]).resolve() for link in Page(way).links() if "://" not in link}
    assert set(PAGES) - {way} <= led
