"""``python -m local``: the cloud on one machine."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

_COMMANDS = {
    "storage": ("local.storage.command", "an embedded Supabase Storage"),
    "proxy": ("local.proxy.command", "a network that goes wrong on purpose, before any Storage"),
    "queue": ("local.queue.command", "a stand-in for RunPod's queue"),
    "demo": ("local.demo.command", "a whole training on this machine, no account needed"),
}


def main(arguments: list[str]) -> int:
    """Run one of the commands; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Everything that stands in for the cloud.",
        epilog="; ".join(f"{name}: {what}" for name, (_, what) in _COMMANDS.items()),
    )
    parser.add_argument("command", choices=_COMMANDS)
    chosen = parser.parse_args(arguments[:1]).command
    code: int = import_module(_COMMANDS[chosen][0]).main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
