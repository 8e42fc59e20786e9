"""JSON bodies held against a route's schema, with the sentences that the real server's validator (Ajv) says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from local.storage import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

Kind = Literal["string", "integer", "boolean", "array", "object", "limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one member of a body must be. ``choices`` are for texts, ``minimum`` for numbers, ``items`` for arrays."""

    kind: Kind
    required: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    items: tuple[int, int | None] = (0, None)
    fields: Mapping[str, Field] = field(default_factory=dict)


Fields = dict[str, Field]

_SIZE = r"^[0-9]+(?:\.[0-9]+)?(?:[gG][bB]|[mM][bB]|[kK][bB]|[bB])$"


async def json_body(request: Request, fields: Fields, *, may_be_empty: bool = False) -> dict[str, object]:
    """Return the request's body as far as ``fields`` name it. Raises a refusal that says what is wrong."""
    raw = await request.body()
    if not raw and may_be_empty:
        return {}
    return checked(_parsed(request.headers.get("content-type"), raw), fields, "body")


def _parsed(content_type: str | None, raw: bytes) -> object:
    if content_type is None and not raw:
        return None
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind == "text/plain":
        return raw.decode(errors="replace")
    if kind != "application/json":
        raise refusals.invalid_type()
    if not raw:
        message = "Body cannot be empty when content-type is set to 'application/json'"
        raise refusals.broken_json(message)
    try:
        return json.loads(raw)
    except ValueError:
        message = "Body is not valid JSON but content-type is set to 'application/json'"
        raise refusals.broken_json(message) from None


def checked(value: object, fields: Mapping[str, Field], path: str) -> dict[str, object]:
    """Return the members of ``value`` that ``fields`` name. ``path`` is what the refusal calls it."""
    if not isinstance(value, dict):
        raise refusals.invalid_request(f"{path} must be object")
    for name, wanted in fields.items():
        if wanted.required and name not in value:
            raise refusals.invalid_request(f"{path} must have required property '{name}'")
    return {name: _value(value[name], wanted, f"{path}/{name}") for name, wanted in fields.items() if name in value}


def _value(value: object, wanted: Field, path: str) -> object:
    if value is None and wanted.nullable:
        return None
    if wanted.kind == "object":
        return checked(value, wanted.fields, path)
    if wanted.kind == "limit":
        return _limit(value, path)
    found = _COERCIONS[wanted.kind](value)
    if found is None:
        raise refusals.invalid_request(f"{path} must be {wanted.kind}")
    if wanted.choices and found not in wanted.choices:
        raise refusals.invalid_request(f"{path} must be equal to one of the allowed values")
    if wanted.minimum is not None and isinstance(found, int) and found < wanted.minimum:
        raise refusals.invalid_request(f"{path} must be >= {wanted.minimum}")
    if isinstance(found, list):
        _check_length(found, wanted.items, path)
    return found


def _check_length(found: list[str], bounds: tuple[int, int | None], path: str) -> None:
    least, most = bounds
    if len(found) < least:
        raise refusals.invalid_request(f"{path} must NOT have fewer than {least} items")
    if most is not None and len(found) > most:
        raise refusals.invalid_request(f"{path} must NOT have more than {most} items")


def _string(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return "" if value is None else None


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    if value is None:
        return 0
    return value if isinstance(value, int) else None


def _boolean(value: object) -> bool | None:
    known: dict[object, bool] = {"true": True, "false": False, 1: True, 0: False, None: False}
    return known.get(value) if isinstance(value, str | int | None) else None


def _array(value: object) -> list[str] | None:
    # The validator takes a single value for a list of one.
    items = value if isinstance(value, list) else [value]
    texts = [text for item in items if (text := _string(item)) is not None]
    return texts if len(texts) == len(items) else None


def _limit(value: object, path: str) -> int | str:
    """Return a limit in bytes, or as text such as ``20MB``. Each alternative that fails has its say."""
    number = None if isinstance(value, str) and not value.isdecimal() else _integer(value)
    if number is not None and number >= 0:
        return number
    if isinstance(value, str) and re.search(_SIZE, value):
        return value
    wrong = ["must be >= 0"] if number is not None else ["must be integer", 'must pass "finite" keyword validation']
    wrong += [f'must match pattern "{_SIZE}"', "must match a schema in anyOf"]
    raise refusals.invalid_request(", ".join(f"{path} {sentence}" for sentence in wrong))


_COERCIONS: dict[Kind, Callable[[object], object]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "array": _array,
}
