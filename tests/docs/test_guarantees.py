"""The page of guarantees says what the tests say, and every promise is tried by some test."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.docs.documents import PROJECT, Page
from tests.guarantees import PROMISES


def test_the_page_is_what_the_tests_say() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tests.guarantees"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert (PROJECT / "docs" / "guarantees.md").read_text() == made.stdout, "run make guarantees"
    assert [sentence for sentence in PROMISES.values() if sentence not in made.stdout] == []


def test_the_mark_that_is_shown_is_of_a_promise() -> None:
    [shown] = Page(PROJECT / "CONTRIBUTING.md").blocks("python")
    found = re.fullmatch(r'@pytest\.mark\.guarantee\("([\w-]+)", fault="[^"]+"\)\n', shown)
    assert found is not None
    assert found.group(1) in PROMISES
