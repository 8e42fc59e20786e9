"""``python -m local proxy``: stands before a Storage until it is told to stop."""

from __future__ import annotations

import argparse
import ssl
import sys
from pathlib import Path

from pydantic import ValidationError

from local.proxy.faults import Fault
from local.proxy.line import Line
from local.proxy.rig import Rig
from local.proxy.server import running_proxy
from local.stopping import stop_event
from shared.settings import parse_bytes

_EPILOG = """
It prints the line to export and then serves. While it runs, POST /_proxy/faults switches a fault on (JSON, as for
--fault), DELETE /_proxy/faults switches all off, PUT /_proxy/line changes round trip (seconds) and bandwidth, and GET
/_proxy/tally shows what has passed.
"""


def main(argv: list[str]) -> int:
    """Run the command with those arguments and return its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (arguments.certificate is None) != (arguments.key is None):
        parser.error("--certificate and --key go together")
    rig = Rig(Line(arguments.latency / 1000, arguments.bandwidth))
    for fault in arguments.fault:
        rig.faults.add(fault)
    stop = stop_event()
    try:
        tls = _context(arguments.certificate, arguments.key)
        with running_proxy(arguments.to, rig, host=arguments.host, port=arguments.port, tls=tls) as proxy:
            print(f"export SUPABASE_URL={proxy.url}", flush=True)
            stop.wait()
    except ValueError as error:
        print(f"Cannot stand before it: {error}. Correct --to.", file=sys.stderr)
        return 1
    except ssl.SSLError as error:
        print(f"Cannot use {arguments.certificate} and {arguments.key}: {error}.", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{arguments.host}:{arguments.port}"
        print(f"Cannot serve at {where}: {error}. Choose another --host or --port.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local proxy",
        description="A network that goes wrong on purpose, before any Storage.",
        epilog=_EPILOG,
    )
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0, the default, takes a free one")
    parser.add_argument("--to", required=True, metavar="URL", help="the server to stand before")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--latency", type=_milliseconds, default=0.0, metavar="MS", help="a round trip (default: 0)")
    parser.add_argument(
        "--bandwidth",
        type=_rate,
        metavar="BYTES",
        help="bytes a second each way, shared by all connections, for example 25000000 for 200 Mbit/s (default: none)",
    )
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], metavar="JSON", help="a fault to begin with; repeatable"
    )
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="serve https with this certificate, and --key for its key (PEM)",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="the certificate's key (PEM)")
    return parser


def _context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _milliseconds(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1.0
    if not 0 <= milliseconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds")
    return milliseconds


def _rate(text: str) -> int:
    try:
        rate = parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from None
    if not rate:
        raise argparse.ArgumentTypeError("nothing at all can pass at 0 bytes a second")
    return rate


def _fault(text: str) -> Fault:
    try:
        return Fault.model_validate_json(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"no fault: {error}") from None
