"""The submitted configuration as it may be shown: without the secrets that people put into configurations."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from shared.secrecy import MASK, mask, secrets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SECRET_KEY = re.compile(r"token$|secret|password|passwd|api_?key|access_?key|credential", re.IGNORECASE)

# No token is shorter, and no word of a configuration that is a secret's as well is so long.
_UNMISTAKABLE = 16


def masked(config: Mapping[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """Return ``config`` with the values of telling keys, and every known secret in any text, replaced."""
    return {
        mask(str(key), secrets): MASK if _is_secret(str(key), value) else _masked(value, secrets)
        for key, value in config.items()
    }


def given_away(value: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of ``environ`` whose secret stands somewhere in ``value``, which is plain data.

    Short ones are left out: they may be ordinary words.
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return tuple(
        sorted(
            name
            for name, content in environ.items()
            if any(len(secret) >= _UNMISTAKABLE and secret in text for secret in secrets_of({name: content}))
        )
    )


def presentable(answer: Mapping[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """Return a copy of ``answer`` with every known secret in any text replaced: nothing else goes to RunPod."""
    return {key: _masked(value, secrets) for key, value in answer.items()}


def _masked(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, dict):
        return masked(value, secrets)
    if isinstance(value, list | tuple):
        return [_masked(item, secrets) for item in value]
    return mask(value, secrets) if isinstance(value, str) else value


def _is_secret(key: str, value: object) -> bool:
    return isinstance(value, str) and bool(value) and _SECRET_KEY.search(key) is not None
