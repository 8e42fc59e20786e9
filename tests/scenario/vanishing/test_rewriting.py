"""A process that rewrites its files faster than they can be sent: in place, and by putting another in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.contract.process import identify
from tests.scenario.uploader.port import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scenario.uploader.port import Port

# Every version of a file consists of its number alone, over and over: a mixture of two shows.
_NUMBER = 8
_WRITER = f"""
import os, select, sys, time
os.makedirs("pictures", exist_ok=True)

def content(number, size):
    return number.to_bytes({_NUMBER}, "big") * (size // {_NUMBER})

def in_place(path, data):
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])

def replaced(path, data):
    in_place("pictures/.next", data)
    os.replace("pictures/.next", path)

number = 0
while not select.select([sys.stdin], [], [], 0.3)[0]:
    number += 1
    for name, size in (("optimizer.pt", 3_000_000), ("small.ckpt", 2_000_000), ("large.ckpt", 8_000_000)):
        in_place("pictures/" + name, content(number, size))
    replaced("pictures/replaced.ckpt", content(number, 8_000_000))
    replaced("pictures/replaced.pt", content(number, 1_000_000))
"""
NAMES = ("optimizer.pt", "small.ckpt", "large.ckpt", "replaced.ckpt", "replaced.pt")


def versions(port: Port) -> Iterator[tuple[str, int]]:
    """Yield which version of which file is in the bucket now; fail when one is a mixture."""
    for name in NAMES:
        found = port.content(f"checkpoints/{name}")
        if found is not None:
            assert found == found[:_NUMBER] * (len(found) // _NUMBER), f"{name} is a mixture"
            yield name, int.from_bytes(found[:_NUMBER], "big")


def stop(writer: subprocess.Popen[bytes]) -> None:
    assert writer.stdin is not None
    writer.stdin.close()
    writer.wait(20)


@pytest.mark.guarantee("whole", fault="files are rewritten faster than they can be sent")
@pytest.mark.parametrize("seen", [True, False], ids=["open files are seen", "open files are not seen"])
def test_what_is_rewritten_faster_than_it_can_be_sent_is_never_a_mixture_and_its_last_version_arrives(
    harbour: Port, *, seen: bool
) -> None:
    folder = harbour.session()
    writer = harbour.trainer(_WRITER)
    if seen:
        harbour.session(trainer=identify(writer.pid))
    harbour.start("run", UPLOAD_POLL_SECONDS="0.05", UPLOAD_DEBOUNCE_SECONDS="0.05", UPLOAD_BANDWIDTH="10M")
    published: set[tuple[str, int]] = set()

    def tried() -> bool:
        published.update(versions(harbour))
        whole = sum(name == "replaced.ckpt" for name, _ in published) >= 2
        return whole and harbour.received("checkpoints/large.ckpt") > 5_000_000

    until(tried, "several attempts at what is rewritten in place")
    stop(writer)
    receipt = harbour.drain().receipt
    assert receipt is not None
    assert receipt.complete, receipt.missing
    harbour.checked_manifest()
    for name in NAMES:
        assert harbour.content(f"checkpoints/{name}") == last(folder.output / "pictures" / name), name


def last(path: Path) -> bytes:
    return path.read_bytes()
