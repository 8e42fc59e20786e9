"""The commands of the quick start do what it says, against a Storage that runs here; curl itself need not be there."""

from __future__ import annotations

import json
import re
import shlex
import string
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from handler.job import BucketFolder, parse_job
from handler.stage import stage
from local.storage.server import running_storage
from shared.settings import StorageSettings
from shared.storage.body import BytesBody
from shared.storage.client import Storage
from tests.docs.documents import PROJECT, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from handler.stage import Staged

EVENT = json.loads((PROJECT / "examples" / "jobs" / "z-image-turbo.json").read_bytes())


@pytest.fixture
def project(tmp_path: Path) -> Iterator[StorageSettings]:
    """A project that has no buckets yet."""
    with running_storage(tmp_path / "storage") as server:
        yield StorageSettings(url=server.url, key=server.service_key)


def shown(words: str) -> str:
    """Return the one command of the page that has ``words`` in it."""
    blocks = (block.replace("\\\n", "").splitlines() for block in page("quick-start").blocks("sh"))
    [command] = [line.strip() for lines in blocks for line in lines if words in line]
    return command


def curl(command: str, project: StorageSettings, folder: Path, **variables: str) -> httpx.Response:
    """Do what curl would do in ``folder``. Raises ValueError for what it is not known to do."""
    values = {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_KEY": project.key, **variables}
    program, address, *options = shlex.split(string.Template(command).substitute(values))
    headers: dict[str, str] = {}
    content: bytes | None = None
    for option, value in zip(options[::2], options[1::2], strict=True):
        match option:
            case "-H":
                name, _, text = value.partition(": ")
                headers[name] = text
            case "-d" | "--data-binary":
                content = (folder / value[1:]).read_bytes() if value.startswith("@") else value.encode()
            case _:
                raise ValueError(option)
    assert program == "curl"
    return httpx.request("GET" if content is None else "POST", address, headers=headers, content=content)


def make_buckets(project: StorageSettings, folder: Path) -> list[str]:
    loop = re.search(r"for bucket in (.+); do", "\n".join(page("quick-start").blocks("sh")))
    assert loop is not None
    buckets = loop.group(1).split()
    for bucket in buckets:
        assert curl(shown("/storage/v1/bucket"), project, folder, bucket=bucket).is_success
    return buckets


def test_the_buckets_are_those_of_the_job_and_private(project: StorageSettings, tmp_path: Path) -> None:
    job = parse_job(EVENT)
    assert job.dataset is not None
    assert make_buckets(project, tmp_path) == [job.dataset.bucket_name, job.upload.bucket_name]
    with Storage(project) as storage:
        assert not storage.bucket(job.upload.bucket_name).public


def test_the_dataset_is_staged_as_pictures_with_captions(project: StorageSettings, tmp_path: Path) -> None:
    make_buckets(project, tmp_path)
    folder = tmp_path / "my-person"
    folder.mkdir()
    for name in ("1.jpg", "1.txt"):
        (folder / name).write_bytes(b"content")
    files = [str(path.relative_to(tmp_path)) for path in sorted(folder.iterdir())]
    pack = shlex.split(shown("zipfile").replace("my-person/*", " ".join(files)))
    subprocess.run([sys.executable, *pack[1:]], cwd=tmp_path, check=True)
    assert curl(shown('my-person.zip" -H'), project, tmp_path).is_success
    source = parse_job(EVENT).dataset
    assert isinstance(source, BucketFolder)

    def ignore(_staged: Staged) -> None: ...

    with Storage(project) as storage:
        tree = stage(storage, source, tmp_path / "staged", concurrency=1, stop=threading.Event(), report=ignore)
    assert sorted(tree.files) == ["1.jpg", "1.txt"]


def test_the_status_is_read_where_the_job_writes_it(project: StorageSettings, tmp_path: Path) -> None:
    make_buckets(project, tmp_path)
    job = parse_job(EVENT)
    with Storage(project) as storage:
        key = f"{job.prefix}/status.json"
        storage.put(job.upload.bucket_name, key, BytesBody(b"{}"), content_type="application/json", metadata={})
    assert curl(shown("status.json"), project, tmp_path).content == b"{}"
    assert f"--prefix {job.prefix} " in shown("uploader fetch")
