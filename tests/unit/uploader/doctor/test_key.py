"""What a key tells of itself."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from uploader.doctor.checks import Level
from uploader.doctor.key import check_key

NOW = 1_800_000_000.0
DAY = 86_400.0
URL = "https://abcdefgh.supabase.co"


def token(**claims: Any) -> str:
    return jwt.encode({"role": "service_role", "exp": NOW + 365 * DAY, **claims}, "a-secret-of-more-than-32-characters")


@pytest.mark.parametrize(
    ("key", "level", "says"),
    [
        (token(), Level.OK, "service_role key, valid until 2028-01-15"),
        (token(ref="abcdefgh"), Level.OK, "service_role"),
        (token(exp=None), Level.OK, "does not expire"),
        (token(role="anon"), Level.FAILURE, "the role anon"),
        (token(role=None), Level.FAILURE, "the role of nobody"),
        (token(ref="another"), Level.FAILURE, "the key of the project another"),
        (token(exp=NOW - 1), Level.FAILURE, "expired on 2027-01-15"),
        (token(exp=NOW + 6 * DAY), Level.WARNING, "expires on 2027-01-21"),
        ("sb_secret_0123456789", Level.OK, "secret key"),
        ("sb_publishable_0123456789", Level.FAILURE, "may not write"),
        ("something-else", Level.WARNING, "of a form"),
    ],
)
def test_a_key_says_what_it_is_good_for(key: str, level: Level, says: str) -> None:
    finding = check_key(key, URL, NOW)
    assert finding.level is level
    assert says in finding.says
    assert key not in f"{finding.says} {finding.remedy}"
    assert (finding.remedy is None) == (level is Level.OK)


def test_behind_an_address_of_ones_own_the_project_is_not_compared() -> None:
    assert check_key(token(ref="abcdefgh"), "https://storage.example.com", NOW).level is Level.OK
