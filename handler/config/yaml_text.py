"""YAML as ai-toolkit reads it: PyYAML's safe loader, except that ``1e-4`` is a number, which PyYAML takes for text.

A number keeps the way it was written, so that every reader gets from the result what it would have got from the
original. The reader refuses duplicate keys, and what would explode: aliases of aliases, and nesting without end. What
aliases make of one long text, the copy that is made of the result counts.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import yaml

from handler.config.problems import ConfigError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 20_000

# The numbers that ai-toolkit knows beyond PyYAML's.
EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|\.[0-9_]+(?:[eE][-+][0-9]+)?")
_FLOAT_TAG = "tag:yaml.org,2002:float"
_MERGE_TAG = "tag:yaml.org,2002:merge"
# What PyYAML itself stumbles over, where a value is not what its tag says: ``!!bool maybe``, ``!!int ''``.
_STUMBLES = (ValueError, OverflowError, LookupError, AttributeError, TypeError)


class WrittenFloat(float):
    """A number that remembers how it was written."""

    text: str

    def __new__(cls, value: float, text: str) -> Self:
        """Return ``value``, to be written as ``text``."""
        number = super().__new__(cls, value)
        number.text = text
        return number

    def __reduce__(self) -> tuple[type[WrittenFloat], tuple[float, str]]:
        return WrittenFloat, (float(self), self.text)


def load_yaml(text: str) -> object:
    """Return what the one YAML document in ``text`` says. Raises ConfigError naming line and column."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError(f"it is larger than {MAX_BYTES >> 10} KiB")
    try:
        reader = _Reader(text)
        with reader.understood():
            return reader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_described(error)) from None
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        raise ConfigError(f"line {line}, column {column}: a character that YAML does not allow") from None


def dump_config(config: Mapping[str, Any]) -> bytes:
    """Return the configuration as YAML. Raises ConfigError where ai-toolkit would put in a variable."""
    # In ASCII, with everything else escaped: PyYAML reads some separators of Unicode as line ends.
    content: bytes = yaml.dump(
        dict(config),
        Dumper=_Writer,
        encoding="utf-8",
        sort_keys=False,
        default_flow_style=False,
    )
    if b"${" in content:
        raise ConfigError("a path in it holds ${, where ai-toolkit would put in a variable; rename the file or folder")
    return content


def _described(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = error.problem or "this is no YAML"
    if not error.context or not error.context_mark:
        return f"{place}{problem}"
    if not error.context.startswith("while"):
        return f"{place}{error.context}, {problem}"
    begin = f"{error.context} that begins in line {error.context_mark.line + 1}"
    return f"{place}{problem} ({begin}; often a quote is not closed or an indentation is wrong)"


def _marked(problem: str, at: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)  # type: ignore[arg-type]  # the stubs allow for the C loader's marks


class _Reader(yaml.SafeLoader):
    """PyYAML's safe loader with ai-toolkit's numbers, limits, and no duplicate keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values = 0
        self._values_of_anchor: dict[str | None, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.NodeEvent = self.peek_event()  # type: ignore[no-untyped-call]
        alias = isinstance(event, yaml.AliasEvent)
        before = self._values
        self._values += self._values_behind(event.anchor) if alias else 1
        self._depth += 1
        if self._depth > MAX_DEPTH or self._values > MAX_VALUES:
            limits = f"deeper than {MAX_DEPTH} levels or has more than {MAX_VALUES} values, aliases included"
            raise _marked(f"the configuration is nested {limits}", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor and not alias:
            self._values_of_anchor[event.anchor] = self._values - before
        return node

    def _values_behind(self, anchor: str | None) -> int:
        """Return how many values an alias stands for: without end where its anchor is around it."""
        return self._values_of_anchor.get(anchor, MAX_VALUES if anchor in self.anchors else 1)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG]
        seen: set[tuple[str, str]] = set()
        for key in keys:
            if (key.tag, key.value) in seen:
                raise _marked(f"the key {key.value!r} is there a second time", key)
            seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except _STUMBLES as error:
            what = node.tag.rpartition(":")[2]
            raise _marked(
                f"{quoted(repr(node.value))} looks like a {what} and is none; put it in quotes", node
            ) from error

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Name the place of an escape that stands for no character, ``\\UFFFFFFFF``, which PyYAML does not look at."""
        try:
            yield
        except _STUMBLES as error:
            mark = self.get_mark()
            problem = "a value that nobody can read, such as an escape that stands for no character"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark) from error


class _Writer(yaml.SafeDumper):
    """Writes every value whole at its place, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _read_float(reader: _Reader, node: yaml.ScalarNode) -> WrittenFloat:
    return WrittenFloat(reader.construct_yaml_float(node), node.value)


def _write_float(writer: _Writer, number: WrittenFloat) -> yaml.ScalarNode:
    return writer.represent_scalar(_FLOAT_TAG, number.text)


_WHOLE = re.compile(rf"(?:{EXPONENT.pattern})$")
_FIRST_CHARACTERS = list("-+0123456789.")
_Reader.add_implicit_resolver(_FLOAT_TAG, _WHOLE, _FIRST_CHARACTERS)
_Reader.add_constructor(_FLOAT_TAG, _read_float)
_Writer.add_implicit_resolver(_FLOAT_TAG, _WHOLE, _FIRST_CHARACTERS)
_Writer.add_representer(WrittenFloat, _write_float)
