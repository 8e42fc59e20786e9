"""Goes through a configuration and offers every path in it for replacement, in whatever form it is held."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from handler.config.problems import ConfigError, kind
from handler.rewrite.rules import Form, Kind, Rule, rule_for

# ai-toolkit cuts a prompt at every "--"; what follows the flag and a space, up to the next "--", is the path.
_CONTROL_IMAGE = re.compile(r"(?P<flag>--ctrl_img(?:_\d+)? +)(?P<path>(?:(?!--).)*?)(?=\s*(?:--|$))", re.DOTALL)
_BETWEEN_COMMAS = re.compile(r"[^,\s](?:[^,]*[^,\s])?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A path in a configuration: where it stands, what it is for, how it reads, and the form of the value around it."""

    place: str
    kind: Kind
    text: str
    form: Form = Form.PLAIN


Replace = Callable[[Reference], str]


def map_paths(config: Mapping[str, Any], replace: Replace) -> dict[str, Any]:
    """Return a copy of ``config`` with what ``replace`` returns in place of each path.

    Texts that are no known path are offered as Kind.OTHER. Raises ConfigError naming each key that must hold text.
    """
    walk = _Walk(replace)
    copied: dict[str, Any] = walk.mapping(config, "", ())
    if walk.problems:
        raise ConfigError(*walk.problems)
    return copied


class _Walk:
    def __init__(self, replace: Replace) -> None:
        self._replace = replace
        self.problems: list[str] = []

    def mapping(self, value: Mapping[Any, Any], place: str, keys: tuple[str, ...]) -> dict[Any, Any]:
        copied = {}
        for key, item in value.items():
            within, below = f"{place}.{key}" if place else str(key), (*keys, str(key))
            rule = rule_for(below)
            copied[key] = self._ruled(rule, item, within) if rule else self._unruled(item, within, below)
        return copied

    def _unruled(self, value: Any, place: str, keys: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            return self.mapping(value, place, keys)
        if isinstance(value, list):
            return [self._unruled(item, f"{place}[{index}]", keys) for index, item in enumerate(value)]
        return self._replace(Reference(place, Kind.OTHER, value)) if isinstance(value, str) else value

    def _ruled(self, rule: Rule, value: Any, place: str) -> Any:
        if isinstance(value, list):
            return self._list(rule, value, place)
        if isinstance(value, Mapping):
            return self._mapping_for_path(rule, value, place)
        if isinstance(value, str):
            return self._text(rule, value, place)
        if rule.form is not Form.ANY_DEPTH and value is not None and value is not False:
            self.problems.append(f"{place} must be text, not {kind(value)}")
        return value

    def _list(self, rule: Rule, items: list[Any], place: str) -> list[Any]:
        if rule.form is Form.WORDS_OR_FILE:
            return items
        if rule.form is Form.PROMPTS_OR_FILE:
            rule = Rule(rule.kind, Form.PROMPTS)
        return [self._ruled(rule, item, f"{place}[{index}]") for index, item in enumerate(items)]

    def _mapping_for_path(self, rule: Rule, value: Mapping[Any, Any], place: str) -> Any:
        if rule.form is Form.ANY_DEPTH:
            return {key: self._ruled(rule, item, f"{place}.{key}") for key, item in value.items()}
        self.problems.append(f"{place} must be text, not a mapping")
        return value

    def _text(self, rule: Rule, text: str, place: str) -> str:
        if not text.strip():
            return text
        if rule.form is Form.PROMPTS:
            return _CONTROL_IMAGE.sub(lambda found: found["flag"] + self._one(rule, found["path"], place), text)
        if rule.form is Form.COMMAS:
            return _BETWEEN_COMMAS.sub(lambda found: self._one(rule, found.group(), place), text)
        return self._one(rule, text, place)

    def _one(self, rule: Rule, text: str, place: str) -> str:
        return self._replace(Reference(place, rule.kind, text, rule.form)) if text else text
