"""The reference of jobs says what the models and real answers say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from handler.answer import answer, from_manifest, refusal
from handler.reporter import Reporter
from shared.clock import SystemClock
from shared.contract.bucket import Entry, Link, Manifest, Status
from shared.contract.session import Outcome, Progress
from shared.errors import ErrorCode, FerryError
from tests.docs.answers import ended
from tests.docs.documents import page, quoted
from tests.reference import PAGE, SENT, WRITTEN
from tests.reference import page as made_anew

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from handler.answer import Finished

LINK = Link(key="k", url="https://project.supabase.co/storage/v1/object/sign/b/k?token=t", expires_at=1.0)
FINISHED, FAILED = ended(Outcome.FINISHED), ended(Outcome.FAILED)


def test_the_page_is_what_the_models_say() -> None:
    text = PAGE.read_text("utf-8")
    assert made_anew(text) == text, "run make reference"
    for model in (*SENT, *WRITTEN):
        assert f"\n<!-- {model.__name__} -->\n" in text


@pytest.mark.parametrize("model", [*SENT, *WRITTEN], ids=lambda model: model.__name__)
def test_every_field_says_what_it_is(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def told(when: str) -> set[str]:
    """Return the keys of an answer that the page says are there ``when``."""
    return {quoted(row[0])[0] for row in page("jobs").table("key of the answer") if row[2] == when}


ALWAYS, RUN = told("always"), told("always") | told("it was run")


def resumed(run: Finished) -> Finished:
    return replace(run, session=run.session.model_copy(update={"resumed_step": 7}))


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (answer(FINISHED), RUN | told("it succeeded")),
        (answer(FAILED), RUN | told("it failed") | told("it was run and failed")),
        (refusal(FerryError(ErrorCode.BUSY, "busy")), ALWAYS | told("it failed")),
        (answer(replace(FINISHED, warnings=("w",))), RUN | told("it succeeded") | told("there are any")),
        (answer(replace(FINISHED, links=(LINK,))), RUN | told("it succeeded") | told("it asked for links")),
        (answer(resumed(FINISHED)), RUN | told("it succeeded") | told("it went on")),
    ],
    ids=["success", "failure", "refusal", "warnings", "links", "resumed"],
)
def test_an_answer_has_the_keys_that_the_page_says(real: Mapping[str, Any], expected: set[str]) -> None:
    assert set(real) == expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.FINISHED, told("it succeeded")),
        (Outcome.FAILED, told("it failed") | told("it was run and failed")),
    ],
)
def test_a_stored_answer_has_the_same_keys_and_some_more(outcome: Outcome, expected: set[str]) -> None:
    manifest = Manifest(
        outcome=outcome, complete=True, session_id="s", model_name="m", created_at=0.0, resumed_step=7, warnings=("w",)
    )
    always = RUN | told("it had been run before") | told("it went on") | told("there are any")
    stored = from_manifest(manifest, "bucket", "prefix/m", "/output", (LINK,))
    assert set(stored) == always | expected | told("it asked for links")


def test_an_update_has_the_keys_that_the_page_says() -> None:
    numbers = dict.fromkeys(Progress.model_fields, 1)
    sent: list[Mapping[str, Any]] = []
    session = FINISHED.session.model_copy(update={"progress": Progress.model_validate(numbers)})
    Reporter(sent.append, SystemClock()).tell(session, ["a warning"])
    [update] = sent
    assert list(update) == [key for row in page("jobs").table("key of an update") for key in quoted(row[0])]


def test_the_documents_that_are_shown_are_such_as_are_written() -> None:
    status, manifest = [json.loads(block) for block in page("jobs").blocks("json")]
    assert Status.parse(json.dumps(status).encode()) is not None
    assert Manifest.parse(json.dumps(manifest).encode()) is not None
    assert set(status) <= set(Status.model_fields)
    assert set(manifest) <= set(Manifest.model_fields)
    assert {key for entry in manifest["files"] for key in entry} <= set(Entry.model_fields)
