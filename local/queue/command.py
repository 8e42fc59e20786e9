"""``python -m local queue``: serves until it is told to stop."""

from __future__ import annotations

import argparse
import shlex

from local.background import served
from local.queue.app import QueueApp, worker_variables
from local.stopping import stop_event

_EPILOG = """
It prints the lines to export and then serves: what a worker needs to take its jobs here, and RUNPOD_ENDPOINT_BASE_URL
for RunPod's client, which sends them. The endpoint is called local, and any key will do.
"""


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    description = "A stand-in for RunPod's queue: one endpoint, whose jobs its workers take."
    argparse.ArgumentParser(prog="python -m local queue", description=description, epilog=_EPILOG).parse_args(argv)
    stop = stop_event()
    app = QueueApp()
    with served(app.app, app.connections.attach) as url:
        for name, value in {**worker_variables(url), "RUNPOD_ENDPOINT_BASE_URL": f"{url}/v2"}.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        stop.wait()
    return 0
