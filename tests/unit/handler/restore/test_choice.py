"""Which objects of an interrupted training are taken: the newest whole checkpoint, and what belongs to that step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handler.expected import Expected
from handler.restore.choice import Kept, Left, kept, left, trained_halves
from handler.saves import HALVES
from shared import folders
from shared.storage.records import ObjectRecord

NAME = "cats"
LINEAGE = ("s1", "s2")


def record(path: str, session: str = "s1", step: int | None = None, **more: str) -> ObjectRecord:
    told = {"sha256": "ab", "path": path, "session": session, **({} if step is None else {"step": str(step)}), **more}
    return ObjectRecord(f"run/{path}", 1, metadata=told)


def chosen(*records: ObjectRecord, halves: frozenset[str] = frozenset(HALVES), trigger: str | None = None) -> Left:
    found = [known for each in records if (known := kept(each, LINEAGE)) is not None]
    return left(found, Expected(NAME, trigger), halves, LINEAGE)


def steps(found: Left) -> list[int | None]:
    return [checkpoint.step for checkpoint in found.checkpoints]


def paths(files: tuple[Kept, ...]) -> list[str]:
    return sorted(str(file.path) for file in files)


def test_the_highest_step_comes_first_and_the_last_checkpoint_before_all() -> None:
    found = chosen(
        record("cats/cats_000000010.safetensors"),
        record("cats/cats_000000030.safetensors"),
        record("cats/cats.safetensors", step=40),
        record("cats/cats_000000020.safetensors"),
    )
    assert steps(found) == [40, 30, 20, 10]


def test_what_the_newest_session_saved_comes_before_higher_steps_of_an_older_one() -> None:
    found = chosen(
        record("cats/cats_000000050.safetensors", "s1"),
        record("cats/cats_000000040.safetensors", "s2"),
    )
    assert steps(found) == [40, 50]


def test_another_trainings_checkpoints_are_left_alone() -> None:
    assert steps(chosen(record("cats/cats_000000900.safetensors", "somebody-elses"))) == []


def test_a_model_of_two_halves_needs_both() -> None:
    both = [record(f"cats/cats_000000010{half}.safetensors") for half in HALVES]
    one = record(f"cats/cats_000000020{HALVES[0]}.safetensors")
    found = chosen(*both, one)
    assert steps(found) == [10]
    assert len(found.checkpoints[0].files) == 2


def test_a_model_of_which_one_half_is_trained_needs_that_one() -> None:
    one = record(f"cats/cats_000000020{HALVES[0]}.safetensors")
    assert steps(chosen(one, halves=frozenset({HALVES[0]}))) == [20]


FOLDER = ("transformer/a.safetensors", "model_index.json")


def folder(
    step: int, session: str = "s1", *, parts: tuple[str, ...] = FOLDER, digest: str = "ab"
) -> list[ObjectRecord]:
    """Return the records of a folder whose last file seals ``parts`` of ``digest`` each."""
    name = f"cats/cats_{step:09d}"
    others = [record(f"{name}/{part}", session, sha256=digest) for part in parts]
    seal = folders.seal({f"{name}/{part}": digest for part in parts})
    return [*others, record(f"{name}/{folders.LAST}", session, None, **{folders.SEAL: seal})]


def test_a_folder_needs_the_file_that_is_written_last() -> None:
    found = chosen(*folder(10), *folder(20)[:-1])
    assert steps(found) == [10]
    name = "cats/cats_000000010"
    assert paths(found.checkpoints[0].files) == sorted(f"{name}/{part}" for part in (*FOLDER, folders.LAST))


@pytest.mark.guarantee("resumed-training", fault="a file of the newest checkpoint's folder is missing, or another one")
@pytest.mark.parametrize("number", range(len(FOLDER)))
def test_a_folder_of_which_a_part_is_missing_or_another_is_passed_over(number: int) -> None:
    broken, changed = folder(20), folder(30)
    del broken[number]
    told = {**changed[number].metadata, "sha256": "cd"}
    changed[number] = replace(changed[number], metadata=told)
    assert steps(chosen(*folder(10), *broken, *changed)) == [10]


@pytest.mark.guarantee(
    "resumed-training", fault="the newest checkpoint's folder was uploaded by nobody who saw it whole"
)
def test_a_folder_without_a_seal_is_passed_over() -> None:
    unsealed = record(f"cats/cats_000000020/{folders.LAST}")
    assert steps(chosen(*folder(10), *folder(20)[:-1], unsealed)) == [10]


def test_a_folder_that_a_later_session_has_begun_to_replace_is_passed_over() -> None:
    begun = folder(20, "s2", digest="cd")[0]
    assert steps(chosen(*folder(10), begun, *folder(20)[1:])) == [10]


def test_what_a_folder_has_in_common_with_an_older_sessions_belongs_to_it() -> None:
    older, newer = folder(20), folder(20, "s2")
    found = chosen(*folder(30), older[0], *newer[1:])
    assert steps(found) == [20, 30]
    assert len(found.checkpoints[0].files) == len(newer)


def test_an_embedding_beside_a_broken_folder_is_no_checkpoint() -> None:
    assert steps(chosen(*folder(20)[1:], record("cats/sks_000000020.safetensors"), trigger="sks")) == []


def test_an_embedding_beside_its_lora_is_one_checkpoint() -> None:
    found = chosen(record("cats/cats_000000010.safetensors"), record("cats/sks_000000010.safetensors"), trigger="sks")
    assert paths(found.checkpoints[0].files) == ["cats/cats_000000010.safetensors", "cats/sks_000000010.safetensors"]


def test_the_optimizer_is_taken_with_its_own_step_alone() -> None:
    found = chosen(
        record("cats/cats_000000010.safetensors"),
        record("cats/cats_000000020.safetensors"),
        record("cats/optimizer.pt", step=10),
    )
    newest, older = found.checkpoints
    assert found.optimizer_of(newest) is None
    optimizer = found.optimizer_of(older)
    assert optimizer is not None
    assert optimizer.path.name == "optimizer.pt"


def test_logs_are_taken_but_event_files_and_what_could_be_taken_for_a_checkpoint() -> None:
    taken = ("logs/training.log", "cats/loss_log.db", "cats/learnable_snr.json")
    left_out = ("cats/events.out.tfevents.1", "cats/cats.log", "elsewhere/x.log")
    found = chosen(*(record(path) for path in (*taken, *left_out)))
    assert paths(found.logs) == sorted(taken)


@pytest.mark.guarantee("contained", fault="an object's own record names a path outside the output folder")
@pytest.mark.parametrize("path", ["/etc/passwd", "../../cats/x", "cats/../../x", "", "cats\\xff/x"])
def test_a_path_that_leads_elsewhere_is_no_path(path: str) -> None:
    assert kept(record(path), LINEAGE) is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, set(HALVES)),
        ({"train_high_noise": False}, {"_low_noise"}),
        ({"train_low_noise": False, "train_high_noise": True}, {"_high_noise"}),
    ],
)
def test_which_halves_a_configuration_trains(told: dict[str, Any], expected: set[str]) -> None:
    config = {"config": {"process": [{"model": {"name_or_path": "x", "model_kwargs": told}}]}}
    assert trained_halves(config) == expected


def test_a_configuration_without_a_model_trains_what_it_likes() -> None:
    assert trained_halves({"config": {"process": [{"type": "x"}]}}) == set(HALVES)
