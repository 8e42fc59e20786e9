"""A mapping of the configuration, read key by key: with a type, a default, and an error that says where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class ConfigError(ValueError):
    """The configuration makes no sense; the message says where."""


@dataclass(frozen=True, slots=True)
class Section:
    """The mapping ``values`` found at ``where`` in the configuration (for example ``config.process[0].train``)."""

    where: str
    values: Mapping[str, Any]

    def integer(self, key: str, default: int) -> int:
        """A whole number; numbers in quotes are taken too."""
        return int(self.number(key, default))

    def number(self, key: str, default: float) -> float:
        """Any number; numbers in quotes are taken too."""
        value = self._value(key, default)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{self.where}.{key} must be a number, not {value!r}") from None

    def interval(self, key: str, default: int) -> int:
        """A number of steps; 0 (never) where the key is there and null."""
        return 0 if key in self.values and self.values[key] is None else self.integer(key, default)

    def flag(self, key: str, default: bool = False) -> bool:
        """Something that is true or not."""
        return bool(self._value(key, default))

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers are taken as their digits."""
        return str(self._value(key, default))

    def required(self, key: str) -> str:
        """A text that must be there."""
        if self.values.get(key) is None:
            raise ConfigError(f'config file error. Missing "{self.where}.{key}" key')
        return str(self.values[key])

    def section(self, key: str) -> "Section":
        """The mapping under ``key``; empty where there is none."""
        where, value = f"{self.where}.{key}", self._value(key, {})
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a mapping, not {value!r}")
        return Section(where, value)

    def items(self, key: str) -> list[Any]:
        """The list under ``key``; empty where there is none."""
        value = self._value(key, [])
        if not isinstance(value, list):
            raise ConfigError(f"{self.where}.{key} must be a list, not {value!r}")
        return value

    def sections(self, key: str) -> Iterator["Section"]:
        """The mappings of the list under ``key``."""
        for number, value in enumerate(self.items(key)):
            where = f"{self.where}.{key}[{number}]"
            if not isinstance(value, dict):
                raise ConfigError(f"{where} must be a mapping, not {value!r}")
            yield Section(where, value)

    def _value(self, key: str, default: object) -> Any:
        value = self.values.get(key)
        return default if value is None else value
