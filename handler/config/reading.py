"""From what was submitted to a configuration of plain values, with everything that is wrong named at once.

ai-toolkit puts the worker's environment in place of ``${NAME}`` anywhere in its configuration, which is why that is
refused, in keys too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from handler.config.names import name_problems
from handler.config.problems import ConfigError, kind
from handler.config.strange import strange_architectures, strange_keys
from handler.config.yaml_text import EXPONENT, MAX_BYTES, MAX_DEPTH, MAX_VALUES, WrittenFloat, load_yaml
from shared.place import inner_config, model_name

if TYPE_CHECKING:
    from collections.abc import Iterator

# In these, text stays text even where it looks like a number.
_TEXT_KEYS = frozenset({"name", "trigger_word", "prompt", "prompts", "neg", "default_caption"})
_SCALARS = (str, bool, int, float, dt.date, type(None))
# No key of ai-toolkit's comes near it, and every place below a key carries it in its name.
_LONGEST_KEY = 200
# What a tensor's integer or a seed can be; Python cannot even write down what has some thousand digits.
_MOST_BITS = 64
# To find what was meant takes a millisecond.
_MOST_STRANGE = 20


def parse_config(source: str | Mapping[str, object]) -> dict[str, Any]:
    """Return the configuration in YAML text, or in a mapping such as JSON gives.

    Raises ConfigError naming line and column of broken YAML, or every key that is wrong.
    """
    from_text = isinstance(source, str)
    raw = load_yaml(source) if isinstance(source, str) else source
    if not isinstance(raw, Mapping):
        raise ConfigError(f"it must be a mapping with the keys job and config, not {kind(raw)}")
    copier = _Copier(from_text=from_text)
    config: dict[str, Any] = copier.mapping(raw, "", 1)
    problems = copier.problems or _structure_problems(config)
    if problems:
        raise ConfigError(*problems)
    return config


def config_warnings(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ai-toolkit will probably stumble over, although it can be handed on as it is."""
    name = model_name(config)
    if any(mark in name for mark in "*?["):
        yield f"config.name is {name!r}: ai-toolkit finds no checkpoint to resume from when a name holds * ? or ["
    for place, value in _leaves(config, ""):
        if isinstance(value, dt.date):
            yield f"{place} is a date, which ai-toolkit cannot take; put it in quotes"
    for key in islice(strange_keys(config), _MOST_STRANGE):
        yield f"ai-toolkit ignores {key}"
    for architecture in islice(strange_architectures(config), _MOST_STRANGE):
        yield f"{architecture}, and ai-toolkit takes a model that it does not know for Stable Diffusion"


def _leaves(value: object, place: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{place}[{index}]")
    else:
        yield place, value


def _structure_problems(config: Mapping[str, Any]) -> list[str]:
    if not isinstance(config.get("config"), Mapping):
        return [
            f"config must be a mapping, not {kind(config['config'])}" if "config" in config else "config is missing"
        ]
    inner = inner_config(config)
    processes = inner.get("process")
    if processes is None:
        return ["config.process is missing; it lists what ai-toolkit is to do"]
    if not isinstance(processes, list) or not processes:
        return ["config.process must be a list with at least one process"]
    problems = name_problems("config.name", inner.get("name"))
    for index, process in enumerate(processes):
        problems += _process_problems(f"config.process[{index}]", process)
    return problems or name_problems("name", model_name(config))


def _process_problems(place: str, process: object) -> list[str]:
    if not isinstance(process, Mapping):
        return [f"{place} must be a mapping, not {kind(process)}"]
    problems = name_problems(f"{place}.name", process.get("name"))
    if not isinstance(process.get("type"), str):
        problems.append(f"{place}.type is missing")
    datasets = process.get("datasets")
    if datasets is not None and not isinstance(datasets, list):
        problems.append(f"{place}.datasets must be a list, not {kind(datasets)}")
    for index, dataset in enumerate(datasets if isinstance(datasets, list) else []):
        if not isinstance(dataset, Mapping):
            problems.append(f"{place}.datasets[{index}] must be a mapping, not {kind(dataset)}")
    return problems


def _is_endless(key: object) -> bool:
    return (isinstance(key, str) and len(key) > _LONGEST_KEY) or _is_too_large(key)


def _is_too_large(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() > _MOST_BITS


class _Copier:
    """Copies a configuration as plain values of its own, and collects what ai-toolkit could not or must not get."""

    def __init__(self, *, from_text: bool) -> None:
        self._from_text = from_text
        self._values = 0
        self._characters = 0
        self.problems: list[str] = []

    def mapping(self, value: Mapping[Any, object], place: str, depth: int) -> dict[Any, Any]:
        """Return a copy of ``value``, which stands at ``place``, ``depth`` mappings and lists deep."""
        copied = {}
        for key, item in value.items():
            if _is_endless(key):
                raise ConfigError(f"{place or 'it'} has a key that is longer than {_LONGEST_KEY} characters")
            within = f"{place}.{key}" if place else str(key)
            self._check(key, f"the key {within}")
            copied[key] = self._value(item, within, depth + 1, str(key))
        return copied

    def _value(self, value: object, place: str, depth: int, key: str) -> object:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise ConfigError(f"it is nested deeper than {MAX_DEPTH} levels or has more than {MAX_VALUES} values")
        if isinstance(value, Mapping):
            return self.mapping(value, place, depth)
        if isinstance(value, list):
            return [self._value(item, f"{place}[{index}]", depth + 1, key) for index, item in enumerate(value)]
        self._check(value, place)
        # Who read YAML with PyYAML and sent it on as JSON sends the text "1e-4" where that number was written.
        if not self._from_text and isinstance(value, str) and key not in _TEXT_KEYS and EXPONENT.fullmatch(value):
            return WrittenFloat(float(value.replace("_", "")), value)
        return value

    def _check(self, value: object, place: str) -> None:
        if not isinstance(value, _SCALARS):
            self.problems.append(f"{place} is of a kind that ai-toolkit does not take ({type(value).__name__})")
        if _is_too_large(value):
            self.problems.append(f"{place} is too large a number")
        self._count(value.text if isinstance(value, WrittenFloat) else value)
        if not isinstance(value, str):
            return
        if "${" in value:
            variable = "where ai-toolkit would put in a variable of the worker; write the value itself"
            self.problems.append(f"{place} holds ${{, {variable}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.problems.append(f"{place} holds half a character")

    def _count(self, value: object) -> None:
        """Refuse what grows beyond the limit: a mapping from JSON has none, and a short YAML text may name a long value
        many times.
        """
        self._characters += len(value) if isinstance(value, str) else 0
        if self._characters > MAX_BYTES:
            raise ConfigError(f"it is larger than {MAX_BYTES >> 10} KiB, aliases included")
