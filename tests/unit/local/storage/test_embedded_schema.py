from __future__ import annotations

import pytest

from local.storage.refusals import RefusedError
from local.storage.schema import Field, Fields, checked

FIELDS: Fields = {
    "name": Field(kind="string", required=True),
    "limit": Field(kind="integer", minimum=1),
    "order": Field(kind="string", choices=("asc", "desc")),
    "public": Field(kind="boolean"),
    "paths": Field(kind="array", items=(1, 2)),
    "sort": Field(kind="object", fields={"column": Field(kind="string", required=True)}),
    "size": Field(kind="limit", nullable=True),
}


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ({"limit": 0}, "body/limit must be >= 1"),
        ({"limit": "abc"}, "body/limit must be integer"),
        ({"order": "up"}, "body/order must be equal to one of the allowed values"),
        ({"public": "perhaps"}, "body/public must be boolean"),
        ({"paths": []}, "body/paths must NOT have fewer than 1 items"),
        ({"paths": ["a", "b", "c"]}, "body/paths must NOT have more than 2 items"),
        ({"sort": {}}, "body/sort must have required property 'column'"),
        ({"sort": None}, "body/sort must be object"),
        ({"name": {}}, "body/name must be string"),
    ],
)
def test_what_is_wrong_is_said(member: dict[str, object], sentence: str) -> None:
    with pytest.raises(RefusedError) as caught:
        checked({"name": "n", **member}, FIELDS, "body")
    assert caught.value.message == sentence


def test_a_limit_that_is_neither_number_nor_size() -> None:
    with pytest.raises(RefusedError, match="must match a schema in anyOf"):
        checked({"name": "n", "size": "1 potato"}, FIELDS, "body")


def test_values_are_taken_for_what_they_can_be() -> None:
    given = {"name": 5, "limit": "7", "public": "true", "paths": "a", "size": None, "other": 1}
    assert checked(given, FIELDS, "body") == {"name": "5", "limit": 7, "public": True, "paths": ["a"], "size": None}


def test_a_body_that_is_no_object() -> None:
    with pytest.raises(RefusedError, match="body must be object"):
        checked(None, FIELDS, "body")
