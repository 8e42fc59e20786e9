"""What a contributor is told is so: folders, files to touch, and targets of make."""

from __future__ import annotations

import re
import tomllib

from tests.docs.documents import PROJECT, Page, quoted

PAGE = Page(PROJECT / "CONTRIBUTING.md")


def test_every_package_of_ours_is_laid_out_with_what_it_may_import() -> None:
    linted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    told = {quoted(row[0])[0]: set(quoted(row[2])) for row in PAGE.table("folder")}
    assert set(told) == {*linted["root_packages"], "tests"}
    for contract in linted["contracts"]:
        for package in contract["source_modules"]:
            assert told[package] == set(told) - {package, "tests"} - set(contract["forbidden_modules"])


def test_the_files_that_are_to_be_touched_are_there() -> None:
    named = [path for row in PAGE.table("what") for path in quoted(row[1]) if "/" in path]
    assert len(named) > 5
    for path in named:
        assert (PROJECT / path).exists(), path


def test_every_target_of_make_is_explained() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    told = {command.removeprefix("make ") for row in PAGE.table("target") for cell in row for command in quoted(cell)}
    assert set(phony.group(1).split()) - {"help"} <= told
