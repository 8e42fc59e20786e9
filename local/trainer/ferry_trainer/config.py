"""The configuration file: found, read, and its placeholders replaced, by the rules of ai-toolkit.

``${VAR}`` is replaced in the text by the environment's value before it is parsed; ``[name]`` afterwards, everywhere.
YAML reads ``1e-4`` as a number, which PyYAML by itself does not.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .section import ConfigError

SUFFIXES = (".json", ".jsonc", ".yaml", ".yml")


class ConfigLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which also takes a number with an exponent and no dot as a number."""


ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def find(argument: str, root: Path) -> Path:
    """The configuration that ``argument`` names: a file under ``root``'s ``config/``, else a path."""
    named = root / "config" / argument
    candidates = [named.with_name(named.name + suffix) for suffix in SUFFIXES] if not named.exists() else []
    for path in (*candidates, Path(argument)):
        if path.exists():
            return path.absolute()
    raise ConfigError(f"Could not find config file {argument}")


def load(path: Path, name: str | None = None) -> dict[str, Any]:
    """Read ``path``; ``name`` is put for ``[name]`` in place of the configuration's own.

    Raises ``ConfigError`` for an unset variable, an unknown suffix or a missing key, ``yaml.YAMLError`` or
    ``json.JSONDecodeError`` for a file that is not well-formed.
    """
    text = replace_variables(path.read_text(encoding="utf-8"), os.environ)
    if path.suffix in (".json", ".jsonc"):
        document = json.loads(text)
    elif path.suffix in (".yaml", ".yml"):
        document = ConfigLoader(text).get_single_data()
    else:
        raise ConfigError(f"Config file {path} must be a json or yaml file")
    return replace_name(document, name)


def replace_variables(text: str, environment: Mapping[str, str]) -> str:
    """Put the environment's values for each ``${VAR}`` in ``text``; ``ConfigError`` for one that is not set."""

    def value(match: re.Match[str]) -> str:
        variable = match.group(1)
        if variable not in environment:
            raise ConfigError(f"Environment variable {variable} not set. Please ensure it's defined before proceeding.")
        return environment[variable]

    return re.sub(r"\$\{([^}]+)\}", value, text)


def replace_name(document: object, name: str | None) -> dict[str, Any]:
    """Check that the keys which every job needs are there, and replace ``[name]`` everywhere."""
    if not isinstance(document, dict) or "job" not in document:
        raise ConfigError("config file must have a job key")
    if not isinstance(document.get("config"), dict):
        raise ConfigError("config file must have a config section")
    if "name" not in document["config"] and name is None:
        raise ConfigError("config file must have a config.name key")
    name = str(document["config"]["name"]) if name is None else name
    replaced: dict[str, Any] = json.loads(json.dumps(document).replace("[name]", json.dumps(name)[1:-1]))
    return replaced
