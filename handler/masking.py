"""The submitted configuration as it may be shown: without the secrets that people put into configurations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shared.log import MASK, mask

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SECRET_KEY = re.compile(r"token$|secret|password|passwd|api_?key|access_?key|credential", re.IGNORECASE)


def masked(config: Mapping[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """Return ``config`` with the values of telling keys, and every known secret in any text, replaced."""
    return {
        mask(str(key), secrets): MASK if _is_secret(str(key), value) else _masked(value, secrets)
        for key, value in config.items()
    }


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
