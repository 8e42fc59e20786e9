"""The configuration as it is read, named and written."""

from __future__ import annotations

import copy
import json
import pickle
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.config import ConfigError, WrittenFloat, config_name, dump_config, parse_config
from handler.config.reading import config_warnings
from handler.config.yaml_text import MAX_BYTES
from local.trainer.ferry_trainer.config import replace_variables
from shared.errors import ErrorCode
from shared.place import model_name

if TYPE_CHECKING:
    from collections.abc import Mapping

MINIMAL = """\
job: extension
config:
  name: cats
  process:
    - type: sd_trainer
      train: {lr: %s}
"""


class Toolkit(yaml.SafeLoader):
    """ai-toolkit's reader: PyYAML's, to which an exponent makes a number, with or without a dot or a sign."""


Toolkit.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def with_toolkit(text: str | bytes) -> Any:
    return yaml.load(text, Loader=Toolkit)  # noqa: S506 - derived from the safe loader


def problem(source: str | Mapping[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(source)
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    return caught.value.sentence


SCALARS = """\
1e-4 | 1.5e-4 | 1E5 | -3e+2 | .5 | 1. | 1_000 | 0o10 | 010 | 0x1F | 0b11 | 12:30 | 1:30.5 | no | on | Yes | off | true
~ | null | 2024-01-02 | 2024-01-02T03:04:05Z | .inf | -.inf | '1e-4' | "no" | '010' | '' | '~' | 1_0e-4 | 1e400
0.00010 | 'a: b' | cuda:0 | bf16 | +1 | !!str 1 | !!float 3 | uint4|a/b.safetensors | '0x1F'
"2024-01-02" | 1e | e1 | 0.1.2"""


@pytest.mark.parametrize("scalar", re.split(r" \| |\n", SCALARS))
def test_every_scalar_means_the_same_to_every_reader(scalar: str) -> None:
    text = f"config: {{process: [{{type: t, value: {scalar}, values: [{scalar}]}}]}}"
    written = dump_config(parse_config(text))
    assert with_toolkit(written) == with_toolkit(text)
    assert yaml.safe_load(written) == yaml.safe_load(text)


def test_a_learning_rate_is_a_number_and_stays_as_it_was_written() -> None:
    config = parse_config(MINIMAL % "1e-4")
    rate = config["config"]["process"][0]["train"]["lr"]
    assert rate == pytest.approx(0.0001)
    assert b"lr: 1e-4\n" in dump_config(config)
    assert json.loads(json.dumps(config))["config"]["process"][0]["train"]["lr"] == rate


def test_keys_keep_their_order_and_texts_their_lines() -> None:
    text = "job: x\nconfig:\n  process:\n  - type: t\n    b: 1\n    a: 2\n    1: true\n"
    assert dump_config(parse_config(text)).decode() == text
    prompt = "first\n\n  second: " + "long " * 50 + "\n"
    source = {"config": {"process": [{"type": "t", "prompts": [prompt, "ä — 猫", "\u2028", "\x85"]}]}}
    assert with_toolkit(dump_config(parse_config(source))) == source


def test_a_written_number_survives_copying() -> None:
    number = WrittenFloat(0.0001, "1e-4")
    assert [copied.text for copied in (copy.deepcopy(number), pickle.loads(pickle.dumps(number)))] == ["1e-4"] * 2  # noqa: S301


def test_a_mapping_from_json_has_numbers_that_read_as_numbers() -> None:
    source = json.loads('{"config": {"name": "1e5", "process": [{"type": "t", "lr": 1e-05, "eps": "1e-4", "n": 10}]}}')
    process = with_toolkit(dump_config(parse_config(source)))["config"]["process"][0]
    assert process == {"type": "t", "lr": 1e-05, "eps": 1e-4, "n": 10}
    assert with_toolkit(dump_config(parse_config(source)))["config"]["name"] == "1e5"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "${" not in text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc -:#", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(json_values)
def test_any_json_comes_out_as_it_went_in(value: object) -> None:
    source = {"config": {"process": [{"type": "t", "prompts": value}]}}
    assert with_toolkit(dump_config(parse_config(source))) == source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config:\n  name: 'cats\n", "line 3, column 1"),
        ("config:\n\tname: cats\n", "line 2, column 1"),
        ('a: "x"\nb: "y\nc: "z"\n', "line 3, column 5"),
        ("config: {a: 1, a: 2}", "line 1, column 16: the key 'a' is there a second time"),
        ("config: *nothing", "undefined alias"),
        ("config: &a [*a]", "nested deeper"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4"),
        ("a: 2024-13-45", "looks like a timestamp and is none"),
        ("a: ._", "looks like a float and is none"),
        ("a: !!binary aGVsbG8=", "a is of a kind that ai-toolkit does not take (bytes)"),
        ("a: !!set {x, y}", "a is of a kind that ai-toolkit does not take (set)"),
        ("a: \x07", "line 1, column 4: a character that YAML does not allow"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("- a\n- b", "not a list"),
        ("just text", "not text"),
        ("", "not nothing"),
        ("job: extension", "config is missing"),
        ("config: 3", "config must be a mapping, not a number"),
        ("config: {name: x}", "config.process is missing"),
        ("config: {process: []}", "config.process must be a list with at least one process"),
        ("config: {process: [x]}", "config.process[0] must be a mapping, not text"),
        ("config: {process: [{name: x}]}", "config.process[0].type is missing"),
        ("config: {process: [{type: t, datasets: {a: 1}}]}", "config.process[0].datasets must be a list"),
        ("config: {process: [{type: t, datasets: [a]}]}", "config.process[0].datasets[0] must be a mapping"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(text: str, said: str) -> None:
    assert said in problem(text)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    sentence = problem("config: {name: a/b, process: [{type: t, name: .x}, {datasets: 1}]}")
    assert all(
        field in sentence
        for field in ("config.name", "config.process[0].name", "config.process[1].type", "config.process[1].datasets")
    )


@pytest.mark.parametrize(
    "text",
    [
        "config: {name: '${SUPABASE_SERVICE_KEY}', process: [{type: t}]}",
        "config: {process: [{type: t, x: {'a${B}': 1}}]}",
        "config: {process: [{type: t}]}\nmeta: {deep: [[{x: 'a ${B'}]]}",
        'config: {process: [{type: t, x: "\\x24{B}"}]}',
    ],
)
def test_a_variable_of_the_worker_is_refused_wherever_it_stands(text: str) -> None:
    assert "holds ${" in problem(text)


# What a variable can be put together of, in any of YAML's ways of writing it.
_PIECES = (
    *("$", "{", "}", "${", "HF_TOKEN", r"\x24", r"\u007b", '"', "'", "\\", "\n", "  ", ": ", "- ", "? ", "|", ">", "#"),
    *("&a", "*a", "!!", "!!str ", "[", "]", ",", "<<", "~", "0x", "1e5", "=", "%", "@", "\t", "é", "\x85", "\u2028"),
)
written = st.lists(st.sampled_from(_PIECES), max_size=24).map("".join)


class Everything(dict[str, str]):
    """An environment that has every variable."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "canary"


def is_left_alone_by_the_toolkit(config: dict[str, Any]) -> bool:
    """Return whether the toolkit puts no variable into what is written; one that would be is refused."""
    try:
        content = dump_config(config).decode()
    except ConfigError:
        return True
    return replace_variables(content, Everything()) == content


@pytest.mark.guarantee("contained", fault="YAML is put together at random of what variables are made of")
@settings(max_examples=400, deadline=None, derandomize=True)
@given(written, st.sampled_from(["value: {}", "value: '{}'", 'value: "{}"', "{}: 1", "value: |\n        {}"]))
def test_no_way_of_writing_it_brings_a_variable_to_the_toolkit(text: str, place: str) -> None:
    source = f"job: t\nconfig:\n  process:\n    - type: t\n      {place.replace('{}', text)}\n"
    try:
        config = parse_config(source)
    except ConfigError:
        return
    assert is_left_alone_by_the_toolkit(config)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.recursive(written, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(written, inner, max_size=3)))
def test_no_json_brings_a_variable_to_the_toolkit(value: object) -> None:
    try:
        config = parse_config({"job": "t", "config": {"process": [{"type": "t", "value": value}]}})
    except ConfigError:
        return
    assert is_left_alone_by_the_toolkit(config)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60) | written)
def test_whatever_is_submitted_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        parse_config(text)
    with suppress(ConfigError):
        parse_config(f"config: {{process: [{{type: t, value: {text}}}]}}")


def test_a_variable_in_a_comment_harms_nobody() -> None:
    assert b"$" not in dump_config(parse_config((MINIMAL % "1") + "# ${HOME}\n"))


def test_a_variable_that_comes_with_a_staged_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="rename"):
        dump_config({"config": {"folder_path": "/dataset/${HOME}"}})


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"b{i}: &b{i} [{','.join([f'*b{i - 1}' if i else '*a'] * 8)}]\n" for i in range(9)),
        "a: " + "[" * 100_000,
        "[" + "a," * 100_000,
        "- " * 100_000,
        "#" * (MAX_BYTES + 1),
    ],
    ids=["laughs", "nested", "wide", "deep", "large"],
)
def test_what_would_explode_is_refused(text: str) -> None:
    assert len(problem(text)) < 300


def test_a_deep_mapping_is_refused_too() -> None:
    nested: dict[str, object] = {}
    for _ in range(1000):
        nested = {"a": nested}
    assert "nested deeper" in problem(nested)


def test_an_answer_never_quotes_without_end() -> None:
    assert len(problem("!" * 100_000)) < 1000
    assert len(problem({"config": {"process": [{"type": "t", "x" * 9000: "${A}"}] * 60}})) < 20_000


def test_half_a_character_is_refused() -> None:
    assert "half a character" in problem({"config": {"process": [{"type": "t", "x": "\ud800"}]}})


def test_anchors_are_written_out() -> None:
    config = parse_config("x: &d {a: 1}\nconfig: {process: [{type: t, one: *d, two: {<<: *d, b: 2}}]}")
    assert yaml.safe_load(dump_config(config))["config"]["process"][0] == {
        "type": "t",
        "one": {"a": 1},
        "two": {"a": 1, "b": 2},
    }
    assert b"&" not in dump_config(config)


@pytest.mark.parametrize(
    ("text", "model", "folder"),
    [
        ("config: {name: a, process: [{type: t, name: b}]}\nname: c", "a", "b"),
        ("config: {process: [{type: t, name: b}]}\nname: c", "b", "b"),
        ("config: {process: [{type: t}]}\nname: c\nmodel_name: d", "c", "c"),
        ("config: {process: [{type: t}]}\nmodel_name: d", "d", "d"),
        ("config: {process: [{type: t}]}", "default_model", "default_model"),
        ("config: {name: a, process: [{type: t, name: '[name]_v2'}]}", "a", "a_v2"),
        ("config: {name: a, process: [{type: t, name: null}]}", "a", "a"),
    ],
)
def test_names(text: str, model: str, folder: str) -> None:
    config = parse_config(text)
    assert (model_name(config), config_name(config)) == (model, folder)


@pytest.mark.parametrize("name", ["a/b", "..", "a..b", ".hidden", 'a"b', "a\\b", "a\nb", " ", "x" * 201, 12])
def test_a_name_that_is_no_folder_is_refused(name: object) -> None:
    assert "config.name" in problem({"config": {"name": name, "process": [{"type": "t"}]}})


def test_a_name_is_checked_wherever_it_comes_from() -> None:
    assert "name is 'a/b'" in problem({"model_name": "a/b", "config": {"process": [{"type": "t"}]}})


def test_what_the_trainer_will_stumble_over_is_warned_of() -> None:
    config = parse_config("config: {name: 'a[1]', process: [{type: t}]}\nmeta: {made: 2024-01-02}")
    warnings = list(config_warnings(config))
    assert len(warnings) == 2
    assert "resume" in warnings[0]
    assert warnings[1].startswith("meta.made is a date")
