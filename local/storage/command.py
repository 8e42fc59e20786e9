"""``python -m local storage``: serves until it is told to stop."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local.stopping import stop_event
from local.storage.options import SIZE_LIMIT, UPLOAD_EXPIRY
from local.storage.server import running_storage
from local.storage.tokens import SHORTEST_SECRET

_EPILOG = """
It prints two lines to export and then serves. While it runs, POST /_faults switches on what is to go wrong,
GET /_stats shows what was asked, and DELETE on either sets it back.
"""


def main(argv: list[str]) -> int:
    """Run the command with those arguments and return its exit code."""
    arguments = _parser().parse_args(argv)
    stop = stop_event()
    try:
        with running_storage(
            arguments.root,
            host=arguments.host,
            port=arguments.port,
            size_limit=arguments.size_limit,
            upload_expiry=arguments.upload_expiry,
            multipart_etags=arguments.multipart_etags,
            secret=arguments.secret,
        ) as server:
            print(f"export SUPABASE_URL={server.url}")
            print(f"export SUPABASE_SERVICE_KEY={server.service_key}", flush=True)
            stop.wait()
    except OSError as error:
        where = f"{arguments.root} on {arguments.host}:{arguments.port}"
        print(f"Cannot serve {where}: {error}. Choose another --root or --port.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local storage",
        description="An embedded Supabase Storage that keeps its objects in a folder.",
        epilog=_EPILOG,
    )
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0, the default, takes a free one")
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="where objects and keys are kept")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--size-limit",
        type=_bytes,
        default=SIZE_LIMIT,
        metavar="BYTES",
        help="the most that one object may have (default: 5 GiB)",
    )
    parser.add_argument(
        "--upload-expiry",
        type=_seconds,
        default=UPLOAD_EXPIRY,
        metavar="SECONDS",
        help="how long a resumable upload's address lives; 0: for ever (default: one day)",
    )
    parser.add_argument(
        "--multipart-etags",
        action="store_true",
        help="give large and resumable uploads an eTag that is not their MD5, as the hosted service does",
    )
    parser.add_argument(
        "--secret", type=_secret, help="the secret that signs the keys (default: one that is made and kept in FOLDER)"
    )
    return parser


def _bytes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _secret(text: str) -> str:
    if len(text) < SHORTEST_SECRET:
        raise argparse.ArgumentTypeError(f"a secret has at least {SHORTEST_SECRET} characters")
    return text
