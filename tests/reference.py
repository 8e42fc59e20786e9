"""The tables of ``docs/jobs.md``, made of the models by which the code checks jobs and writes documents.

``<!-- Manifest -->`` on that page stands before the table of ``Manifest``. ``python -m tests.reference`` prints the
page with all of them made anew; a test compares the two.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.job import BucketFolder, Input
from shared.contract.bucket import Entry, Link, Manifest, Missing, Status
from shared.contract.session import Progress
from shared.contract.upload import Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

PAGE = Path(__file__).resolve().parents[1] / "docs" / "jobs.md"
# What a sender writes, with what may be left out; everything else is written by Ferry, which leaves nothing out.
SENT: tuple[type[BaseModel], ...] = (Input, BucketFolder)
WRITTEN: tuple[type[BaseModel], ...] = (Status, Manifest, Entry, Missing, Progress, Count, Link)

# Where the page, or another one, tells what is called by a name of its own.
_EXPLAINED = {
    "BucketFolder": "[folder](#a-folder-in-a-bucket)",
    "Count": "[count](#files-and-bytes)",
    "Entry": "[file](#a-file-of-the-manifest)",
    "ErrorCode": "[error code](errors.md)",
    "Link": "[link](#a-link)",
    "Missing": "[missing file](#a-missing-file)",
    "Outcome": "[outcome](states.md#a-run-as-the-handler-sees-it)",
    "Phase": "[phase](states.md#a-run-as-the-handler-sees-it)",
    "Progress": "[progress](#progress)",
}
_PLAIN = {"string": "text", "number": "number", "boolean": "true or false", "object": "mapping", "null": "`null`"}
_HEADS = {
    True: "| field | what it is | may be left out | |\n|---|---|---|---|\n",
    False: "| key | what it is | |\n|---|---|---|\n",
}
_TABLE = re.compile(r"^<!-- (\w+) -->\n\n(?:\|.*\n)*\n*", re.MULTILINE)


def page(text: str) -> str:
    """Return the page ``text`` with each table after its mark. Raises KeyError for a model that is not one of these."""
    models = {model.__name__: model for model in (*SENT, *WRITTEN)}
    return _TABLE.sub(lambda found: f"<!-- {found[1]} -->\n\n{''.join(_table(models[found[1]]))}\n", text)


def _table(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    sent = model in SENT
    yield _HEADS[sent]
    for name, field in schema["properties"].items():
        cells = [f"`{name}`", _kind(field), field["description"]]
        if sent:
            cells.insert(2, "no" if name in schema["required"] else "yes")
        yield f"| {' | '.join(cells)} |\n"


def _kind(schema: Mapping[str, Any]) -> str:
    """Return in words what JSON schema calls a type."""
    match schema:
        case {"$ref": str(name)}:
            return _EXPLAINED[name.rpartition("/")[2]]
        case {"anyOf": list(choices)}:
            return " or ".join(map(_kind, choices))
        case {"type": "array", "items": items}:
            return f"list: {_kind(items)}"
        case {"type": "integer"}:
            least, most = schema.get("minimum"), schema.get("maximum")
            return "whole number" if least is None else f"whole number from {least} to {most}"
        case _:
            return _PLAIN[schema["type"]]


if __name__ == "__main__":
    sys.stdout.write(page(PAGE.read_text("utf-8")))
