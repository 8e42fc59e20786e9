"""What a job says: refused with a sentence, or run inside its own session. From the event to what the trainer reads."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handler.config import dump_config
from handler.job import parse_job
from handler.rewrite import put_in_place, rewrite
from handler.stage import stage
from local.trainer.ferry_trainer.config import replace_variables
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder
from tests.unit.handler.stage.conftest import FakeStorage, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# RunPod takes answers of 10 MB; a person reads less.
LONGEST_SENTENCE = 20_000
DATASET = {"cats/1.jpg": b"1", "cats/1.txt": b"a cat"}


class Everything(dict[str, str]):
    """An environment that has every variable."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "canary"


class Place:
    """A training root with this job's session, somebody else's, and a toolkit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = SessionFolder(folder / "training" / "training_session_1")
        self.session.output.mkdir(parents=True)
        self.toolkit = folder / "toolkit"
        self.toolkit.mkdir()
        other = folder / "training" / "training_session_2" / "output"
        other.mkdir(parents=True)
        (other / "other.safetensors").write_text("somebody else's")
        self.other = str(other / "other.safetensors")
        (self.toolkit / "link.safetensors").symlink_to(self.other)
        self.before = self._outside()

    def prepare(self, event: dict[str, Any], objects: dict[str, bytes]) -> bytes:
        """Take a job as far as its trainer's start; return the configuration that would run. Raises FerryError."""
        job = parse_job(event)
        assert job.dataset is not None
        tree = stage(
            FakeStorage(objects),
            job.dataset,
            self.session.dataset,
            concurrency=4,
            stop=threading.Event(),
            report=lambda _: None,
        )
        rewritten = rewrite(job.config, tree=tree, session=self.session, toolkit=self.toolkit)
        put_in_place(rewritten)
        return dump_config(rewritten.config)

    def is_untouched(self) -> bool:
        """Return whether everything outside the session is as it was."""
        return self._outside() == self.before

    def leads_out(self, content: bytes) -> list[str]:
        """Return the absolute paths of a configuration that do not lie in the session."""
        inside = f"{self.session.path}/"
        texts = [text for text in _leaves(yaml.safe_load(content)) if text.startswith("/")]
        return [text for text in texts if not os.path.realpath(text).startswith(inside)]

    def _outside(self) -> set[str]:
        own = str(self.session.path)
        return {str(path) for path in self.folder.rglob("*") if not str(path).startswith(own)}


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (str(key), *_leaves(item))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def process(**more: object) -> dict[str, Any]:
    return {"type": "sd_trainer", "datasets": [{"folder_path": "/data/cats"}], **more}


def event(config: object = None, **changes: object) -> dict[str, Any]:
    given = {
        "config": {"job": "extension", "config": {"name": "cats", "process": [process()]}}
        if config is None
        else config,
        "dataset_config": {"bucket_name": "datasets", "folder_path": "cats"},
        "upload_config": {"bucket_name": "outputs", "folder_path": "runs"},
    }
    return {"id": "job-1", "input": {**given, **changes}}


def named(name: object) -> dict[str, Any]:
    return event({"job": "extension", "config": {"name": name, "process": [process()]}})


def folder(path: str) -> dict[str, Any]:
    return event(upload_config={"bucket_name": "outputs", "folder_path": path})


def having(**more: object) -> dict[str, Any]:
    return event({"job": "extension", "config": {"name": "cats", "process": [process(**more)]}})


def text(value: str) -> dict[str, Any]:
    """Return a job whose configuration is YAML text with ``value`` written in it as it stands."""
    head = "job: extension\nconfig:\n  name: cats\n  process:\n  - type: sd_trainer\n"
    return event(f"{head}    datasets: [{{folder_path: /data/cats}}]\n    x: {value}\n")


def endless(**fields: object) -> dict[str, Any]:
    sent = event()
    sent["input"] |= fields
    return sent


_LAUGHS = "[" + ",".join(["*l"] * 19_000) + "]"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # Events
    "no mapping": ({"input": "x"}, "input is missing"),
    "an id without end": ({**event(), "id": "x" * 1_000_000}, "id must be text"),
    "an id of two lines": ({**event(), "id": "a\n2026 ERROR forged"}, "id must be text"),
    "an endless field": (endless(config=3, **{"x" * 500_000: 1}), "config must be"),
    # Names
    **{
        f"the name {name[:12]!r}": (named(name), "config.name")
        for name in ("..", ".", "...", "a/../b", "/etc", "a\\b", "a\nb", "a\x00b", "\u202egpj", 'a"b', " ", "ü" * 101)
    },
    "an endless name": (named("x" * 10_000), "config.name is longer"),
    "a name that Storage writes long": (named("猫" * 60), "longer than 200 characters as Storage writes it"),
    # Places
    **{
        f"the folder {path[:12]!r}": (folder(path), "upload_config.folder_path must not hold")
        for path in ("..", "a/../../b", "a//b", ".", "a\\..\\b", "a\nb", "a\x00b", "\u2028", "a/./b")
    },
    "an endless folder": (folder("x/" * 5000 + "x"), "together are longer than"),
    "a bucket that is a path": (
        event(upload_config={"bucket_name": "../../x", "folder_path": ""}),
        "is no name that a bucket can have",
    ),
    # YAML
    "laughs of one long text": (text(f"[&l '{'x' * 900_000}', {_LAUGHS}]"), "larger than 1024 KiB, aliases included"),
    "laughs of one long number": (text(f"[&l 0.{'0' * 900_000}1, {_LAUGHS}]"), "larger than 1024 KiB"),
    "an object": (text("!!python/object/apply:os.system [reboot]"), "line 7, column 8"),
    "a module": (text("!!python/module:os"), "line 7, column 8"),
    "a number without end": (text("0x" + "f" * 9000), "x is too large a number"),
    "a number without end as a key": (text("{? 0x" + "f" * 900 + " : 1}"), "has a key that is longer"),
    "a key without end": (having(x={"k" * 10_000: 1}), "has a key that is longer than 200 characters"),
    **{
        f"a value that is none: {value}": (text(value), "looks like a")
        for value in ("!!int ''", "!!int '-'", "!!float ''", "!!bool maybe", "!!timestamp x", "2001-13-45", "9" * 5000)
    },
    "an escape of no character": (text('"\\UFFFFFFFF"'), "line 7"),
    "half a character": (having(x="\ud800"), "half a character"),
    "half a character as text": (event("config: \ud800"), "does not allow"),
    "binary": (text("!!binary aGVsbG8="), "is of a kind that ai-toolkit does not take"),
    "a mapping that is too large": (having(x=["y" * 1000] * 1100), "larger than 1024 KiB"),
    "nesting without end": (text("[" * 1000 + "]" * 1000), "nested deeper"),
    # Variables
    **{
        f"the variable {value}": (text(value), "holds ${")
        for value in (
            "'${HF_TOKEN}'",
            "'$${HF_TOKEN}'",
            "'${${A}}'",
            '"\\x24{HF_TOKEN}"',
            '"\\u0024\\u007bHF_TOKEN}"',
            '"$\\\n     {HF_TOKEN}"',
            "{'${HF_TOKEN}': 1}",
            "{? '${A' : 1}",
            "!!str ${HF_TOKEN}",
            "&a '${A'",
        )
    },
    "a variable in the name": (named("${HF_TOKEN}"), "holds ${"),
    # Paths
    "too many inputs": (
        having(datasets=[{"folder_path": f"/{number}/cats"} for number in range(600)]),
        "more than 500 different files and folders",
    ),
    "a path without end": (having(model={"name_or_path": "/a" * 100_000}), "is longer than a path can be"),
    "a path with a zero": (having(model={"name_or_path": "/a\0b"}), "null"),
    "the worker's variables": (having(model={"name_or_path": "/proc/self/environ"}), "the worker's processes"),
    "the worker's variables by a detour": (having(x="/dev/fd/../../1/environ"), "the worker's processes"),
    "a device": (having(model={"name_or_path": "/dev/zero"}), "neither a file nor a folder"),
    "a picture elsewhere": (having(sample={"samples": [{"ctrl_img": "/etc/passwd"}]}), "is not in the staged dataset"),
    "a prompt's picture elsewhere": (
        having(sample={"prompts": ["a --ctrl_img ../../../etc/passwd"]}),
        "is not in the staged dataset",
    ),
    "a file of prompts elsewhere": (having(train={"negative_prompt": "/etc/passwd"}), "not in the staged dataset"),
    "a file name that leads out": (having(filename="../../x"), "must be a file's name"),
}  # fmt: skip


@pytest.mark.guarantee("contained", fault="a job's names, places, YAML, variables or paths are made to reach elsewhere")
@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_job_is_refused_with_a_sentence(place: Place, case: str) -> None:
    sent, said = REFUSED[case]
    with pytest.raises(FerryError) as refused:
        place.prepare(sent, DATASET)
    assert said in refused.value.sentence
    assert len(refused.value.sentence) < LONGEST_SENTENCE
    assert refused.value.code in {ErrorCode.INVALID_INPUT, ErrorCode.INVALID_CONFIG}
    assert place.is_untouched()


@pytest.mark.guarantee("contained", fault="a job names another job's session, plainly, by a link, or by a detour")
@pytest.mark.parametrize(
    "way", ["{other}", "link.safetensors", "{session}/../training_session_2/output", "x/../{other}"]
)
@pytest.mark.parametrize("key", ["model", "x"])
def test_nothing_leads_into_another_session(place: Place, way: str, key: str) -> None:
    path = way.format(other=place.other, session=place.session.path)
    if way.startswith("x/"):
        path = os.path.relpath(place.other, place.toolkit)
    with pytest.raises(FerryError, match=r"points into another session|must not hold \.\."):
        place.prepare(having(**{key: {"name_or_path": path}}), DATASET)
    assert place.is_untouched()


ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    "names of Ferry's own": (named("claims"), "runs/claims"),
    "the manifest's name": (named("manifest.json"), "runs/manifest.json"),
    "a folder's name": (named("samples"), "runs/samples"),
    "what is never uploaded": (named("config.yaml"), "runs/config.yaml"),
    "other scripts": (named("猫と犬"), "runs/=E7=8C=AB=E3=81=A8=E7=8A=AC"),
    "spaces around": (named(" a "), "runs/ a "),
    "percent signs": (folder("a%2f..%2fb"), "a=252f..=252fb/cats"),
    "a tilde": (folder("~root"), "=7Eroot/cats"),
    "an escape of our own": (folder("a=2F=2E=2E"), "a=3D2F=3D2E=3D2E/cats"),
    "an id that is a mapping": ({**event(), "id": {"a": 1}}, "runs/cats"),
    "unknown fields without end": (endless(**{f"field {number}": 1 for number in range(5000)}), "runs/cats"),
    "dates without end": (text("[" + "2001-01-01," * 2000 + "]"), "runs/cats"),
    "numbers that are none": (having(x=[float("nan"), float("inf"), -(1 << 63), 1 << 63]), "runs/cats"),
    "Windows' line ends": (event(text("1")["input"]["config"].replace("\n", "\r\n")), "runs/cats"),
    "a byte order mark": (event("\ufeff" + text("1")["input"]["config"]), "runs/cats"),
    "merged keys": (text("{<<: [{a: 1}, {a: 2}], b: 3}"), "runs/cats"),
    "halves of a variable": (text("['$', '{A}', {'$': '{A}'}, {'$': {}}]"), "runs/cats"),
    "a variable in a comment": (text("1  # ${HF_TOKEN}"), "runs/cats"),
    "outputs elsewhere": (
        having(training_folder="/etc", log_dir="../..", sqlite_db_path="/proc/1/x.db", output_path="/root/.ssh/keys"),
        "runs/cats",
    ),
}


@pytest.mark.guarantee("contained", fault="a job's harmless words look like names, variables or places of Ferry's")
@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_only_odd_runs_in_its_session(place: Place, case: str) -> None:
    sent, prefix = ACCEPTED[case]
    job = parse_job(sent)
    assert job.prefix == prefix
    assert len(json.dumps(job.warnings)) < LONGEST_SENTENCE
    content = place.prepare(sent, DATASET)
    assert replace_variables(content.decode(), Everything()) == content.decode()
    assert place.leads_out(content) == []
    assert place.is_untouched()


HOSTILE_DATASETS: dict[str, tuple[dict[str, bytes], str]] = {
    "a key that leads out": ({"cats/a/../../../x": b"1"}, "would not lie inside the dataset"),
    "a key of two lines": ({"cats/a\nb.jpg": b"1"}, "control character"),
    "folders without end": ({"cats/" + "a/" * 100 + "1.jpg": b"1"}, "has a path of more than 1024 bytes or 64 folders"),
    "an archive that leads out": ({"cats/a.zip": zipped({"../x.jpg": b"1"})}, "would not lie inside the dataset"),
    "an archive with folders without end": ({"cats/a.zip": zipped({"a/" * 100 + "1.jpg": b"1"})}, "or 64 folders"),
    "an archive within the dataset": (
        {"cats/1.jpg": b"1", "cats/a.zip": zipped({"1.jpg": b"2"})},
        "would become 1.jpg in the dataset",
    ),
    "an archive of another kind": ({"cats/a.tar.gz": b"\x1f\x8b"}, "holds no picture, video or sound to train on"),
    "an archive that is none": ({"cats/a.zip": b"\x1f\x8b"}, "is no zip archive"),
}


@pytest.mark.guarantee("contained", fault="a dataset's keys and archives are made to reach elsewhere")
@pytest.mark.parametrize("case", HOSTILE_DATASETS)
def test_a_hostile_dataset_is_refused_with_a_sentence(place: Place, case: str) -> None:
    objects, said = HOSTILE_DATASETS[case]
    with pytest.raises(FerryError) as refused:
        place.prepare(event(), objects)
    assert said in refused.value.sentence
    assert place.is_untouched()


JSON_DATASETS: dict[str, tuple[bytes, str]] = {
    "a file elsewhere": (b'{"/etc/passwd": "x"}', "are not in the staged dataset"),
    "a file by a detour": (b'{"1.jpg": "x", "../../../../etc/passwd": "y"}', "are not in the staged dataset"),
    "no JSON": (b"\xff\xfe", "is no JSON"),
    "nesting without end": (b"[" * 100_000, "is no JSON"),
    "a number without end": (b'{"1.jpg": ' + b"9" * 5000 + b"}", "is no JSON"),
    "no mapping": (b"[]", "must be a JSON mapping"),
    "half a character": (b'{"1.jpg": "\\ud800"}', "half a character"),
    "one file twice": (b'{"1.jpg": "x", "/data/1.jpg": "y"}', "the same staged file twice"),
}


@pytest.mark.guarantee("contained", fault="a JSON dataset lists files outside the dataset, or is no JSON")
@pytest.mark.parametrize("case", JSON_DATASETS)
def test_a_hostile_json_dataset_is_refused_with_a_sentence(place: Place, case: str) -> None:
    content, said = JSON_DATASETS[case]
    with pytest.raises(FerryError) as refused:
        place.prepare(having(datasets=[{"dataset_path": "/data/list.json"}]), {**DATASET, "cats/list.json": content})
    assert said in refused.value.sentence
    assert len(refused.value.sentence) < LONGEST_SENTENCE
    assert place.is_untouched()
