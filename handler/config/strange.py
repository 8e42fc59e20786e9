"""What in a configuration ai-toolkit does not know, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handler.config.vocabulary import ARCHITECTURES, KEYS, SYNONYMS, TRAINERS, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Below it two keys have little more than their length in common.
_LIKENESS = 0.7


def strange_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield each key of a trainer that ai-toolkit does not read, with the nearest one that it does.

    The first level of a process may have keys that some extension reads; there only what looks like a mistake counts.
    """
    for place, process in _trainers(config):
        yield from _strange_below(process, "", place, place)


def strange_architectures(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield each architecture of a model that ai-toolkit would not find, with the nearest one that it would."""
    for place, process in _trainers(config):
        model = process.get("model")
        architecture = model.get("arch") if isinstance(model, Mapping) else None
        # What stands behind a colon is for ai-toolkit's own web page.
        if isinstance(architecture, str) and architecture.partition(":")[0] not in ARCHITECTURES:
            meant = nearest(architecture, ARCHITECTURES)
            yield f"{place}.model.arch is {architecture!r}{meant}"


def _trainers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    inner = config.get("config")
    processes = inner.get("process") if isinstance(inner, Mapping) else None
    for index, process in enumerate(processes if isinstance(processes, list) else []):
        if isinstance(process, Mapping) and process.get("type") in TRAINERS:
            yield f"config.process[{index}]", process


def _strange_below(value: object, section: str, place: str, process: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strange_below(item, section, f"{place}[{index}]", process)
    if not isinstance(value, Mapping) or section not in KEYS:
        return
    for key, item in value.items():
        if key in KEYS[section]:
            within = f"{section}.{key}" if section else key
            yield from _strange_below(item, within, f"{place}.{key}", process)
        elif (meant := _meant(str(key), section, place, process)) or section:
            yield f"{place}.{key}{meant}"


def _meant(key: str, section: str, place: str, process: str) -> str:
    """Return the key that was probably meant, of the same section or else of another, as it stands in a sentence."""
    known = KEYS[section]
    word = SYNONYMS.get(key, key)
    if word in known:
        return f" (did you mean {place}.{word}?)"
    close = difflib.get_close_matches(key, known, n=1, cutoff=_LIKENESS)
    if close:
        return f" (did you mean {place}.{close[0]}?)"
    elsewhere = [other for other, keys in KEYS.items() if word in keys]
    return f" (did you mean {process}.{elsewhere[0]}.{word}?)" if elsewhere and elsewhere[0] else ""
