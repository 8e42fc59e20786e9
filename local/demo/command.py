"""``python -m local demo``: the job is sent, followed, and what came of it is compared."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.background import served
from local.demo.comparing import compare
from local.demo.sample import fill, sample_job
from local.demo.stack import PROJECT, storage_server, worker
from local.demo.watching import Watcher, answer_of, follow
from local.queue.app import QueueApp
from shared.storage.client import Storage

if TYPE_CHECKING:
    import subprocess

_MARK = ".ferry-demo"


def main(arguments: list[str]) -> int:
    """Run the demo; return 0 only if the job succeeded and every object is what it should be."""
    parser = argparse.ArgumentParser(prog="python -m local demo", description="A whole training on this machine.")
    parser.add_argument("--folder", type=Path, default=PROJECT / ".demo", help="where everything goes (default: .demo)")
    folder: Path = parser.parse_args(arguments).folder.resolve()
    if not make_room(folder):
        parser.error(f"{folder} holds what is not the demo's: it is emptied at the start, so name another one")
    with storage_server(folder / "storage", folder / "storage.log") as settings, served(QueueApp().app) as queue_url:
        say(f"Storage stands in at {settings.url}, RunPod's queue at {queue_url}.")
        with Storage(settings) as storage, worker(folder, settings, queue_url, folder / "worker.log") as process:
            return _train(folder, storage, queue_url, process)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def _train(folder: Path, storage: Storage, queue_url: str, process: subprocess.Popen[bytes]) -> int:
    job = sample_job()
    files = fill(storage, job)
    say(f"{files} files are in bucket {job['dataset_config']['bucket_name']}; the worker's log is {folder}/worker.log.")
    sent = _send(queue_url, job)
    say(f"Sent job {sent.job_id} through RunPod's SDK.")
    upload = job["upload_config"]
    prefix = f"{upload['folder_path']}/{_model_name(job)}"
    state = follow(sent.status, Watcher(storage, upload["bucket_name"], prefix, say), lambda: process.poll() is None)
    answer = answer_of(sent)
    say(f"\nRunPod says {state}. The answer:\n{json.dumps(answer, indent=2)}\n")
    _show_tree(storage, upload["bucket_name"], prefix)
    if not answer.get("success"):
        say(f"The job failed; see {folder}/worker.log.")
        return 1
    return _compare(storage, upload["bucket_name"], prefix, Path(answer["output_path"]).parent)


def _send(queue_url: str, job: dict[str, Any]) -> Any:
    import runpod
    from runpod.endpoint import Endpoint

    # The SDK turns every library's chatter on when it is imported.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    runpod.api_key = "local-queue-key"
    runpod.endpoint_url_base = f"{queue_url}/v2"
    return Endpoint("local").run({"input": job})


def _model_name(job: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_load(job["config"])["config"]["name"])


def _show_tree(storage: Storage, bucket: str, prefix: str) -> None:
    say(f"{bucket}/{prefix}/")
    for record in storage.walk(bucket, prefix):
        say(f"  {record.key.removeprefix(prefix + '/'):60} {record.size:>12,}")


def _compare(storage: Storage, bucket: str, prefix: str, output: Path) -> int:
    found = compare(storage, bucket, prefix, output)
    for key in found.different:
        say(f"DIFFERENT: {key}")
    gone = f"; {found.deleted} more, whose files the trainer has deleted, with the manifest" if found.deleted else ""
    say(f"\n{found.same} objects compared with their local files by SHA-256{gone}: {_verdict(found.different)}.")
    return 1 if found.different or not found.same else 0


def _verdict(different: tuple[str, ...]) -> str:
    return f"{len(different)} differ" if different else "all are the same"


def make_room(folder: Path) -> bool:
    """Empty the demo's folder, or make it; return False for one that holds anything and is not the demo's."""
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()
    return True
