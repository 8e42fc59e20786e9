"""The ready jobs are ones that a worker takes as they are, with a dataset as their index draws it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from handler.config.vocabulary import ARCHITECTURES
from handler.job import parse_job
from handler.rewrite import rewrite
from handler.stage import StagedTree
from shared.errors import FerryError
from shared.layout import SessionFolder
from tests.docs.documents import PROJECT, Page, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from handler.job import Job
    from handler.rewrite import Rewritten

JOBS = PROJECT / "examples" / "jobs"
FILES = sorted(path.name for path in JOBS.glob("*.json"))
INDEX = Page(JOBS / "README.md")
WEEK = 7 * 24 * 3_600_000
# The memory of RunPod's pools of GPUs, in GB.
POOLS = {
    "ADA_24": 24,
    "AMPERE_24": 24,
    "AMPERE_48": 48,
    "ADA_48_PRO": 48,
    "AMPERE_80": 80,
    "ADA_80_PRO": 80,
    "HOPPER_141": 141,
}


def event(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((JOBS / name).read_bytes())
    return content


def drawn(name: str) -> list[str]:
    """Return the paths of the drawing that follows where the index names the job's dataset."""
    section = INDEX.text.partition("## How the dataset's folder must look")[2]
    after = section.partition(f"`{name}`")[2]
    found = re.search(r"^```text\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1).splitlines()


def rewritten(job: Job, root: Path, paths: list[str]) -> Rewritten:
    assert job.dataset is not None
    folder = job.dataset.folder_path
    session = SessionFolder(root / "training" / "training_session_1")
    below = [path.removeprefix(f"{folder}/") for path in paths]
    tree = StagedTree.of(session.dataset, below, folder)
    return rewrite(job.config, tree=tree, session=session, toolkit=root / "toolkit")


def test_the_index_lists_every_job_once() -> None:
    assert len(FILES) > 8
    assert sorted(quoted(row[0])[0] for row in INDEX.table("job")) == FILES
    assert sorted(link for link in INDEX.links() if link.endswith(".json")) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_worker_takes_it_with_the_dataset_that_is_drawn(name: str, tmp_path: Path) -> None:
    job = parse_job(event(name))
    assert job.warnings == ()
    assert job.dataset is not None
    paths = drawn(name)
    assert all(path.startswith(f"{job.dataset.folder_path}/") for path in paths)
    made = rewritten(job, tmp_path, paths)
    assert made.warnings == ()
    leading = re.findall(r'"(/[^"]*)"', json.dumps(made.config))
    assert len(leading) > 1
    assert all(path.startswith(str(tmp_path)) for path in leading)


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_with_another_dataset(name: str, tmp_path: Path) -> None:
    job = parse_job(event(name))
    with pytest.raises(FerryError):
        rewritten(job, tmp_path, ["readme.md"])


@pytest.mark.parametrize("name", FILES)
def test_it_trains_what_the_index_says_on_a_gpu_that_there_is(name: str) -> None:
    config = event(name)["input"]["config"]["config"]
    [process] = config["process"]
    assert process["model"]["arch"] in ARCHITECTURES
    [row] = [row for row in INDEX.table("job") if name in row[0]]
    gigabytes = int(row[2].removesuffix(" GB"))
    offered = json.loads((PROJECT / ".runpod" / "hub.json").read_bytes())["config"]["gpuIds"].split(",")
    assert any(POOLS[pool] >= gigabytes for pool in offered)
    gated = process["model"]["name_or_path"] if row[3] else None
    assert quoted(row[3]) == ([gated, "HF_TOKEN"] if gated else [])


@pytest.mark.parametrize("name", FILES)
def test_runpod_lets_it_run_and_no_two_have_one_place(name: str) -> None:
    policy = event(name)["policy"]
    assert 3_600_000 <= policy["executionTimeout"] < policy["ttl"] <= WEEK
    prefixes = [parse_job(event(other)).prefix for other in FILES]
    assert len(set(prefixes)) == len(prefixes)
