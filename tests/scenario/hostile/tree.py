"""An output tree as bad as one can be, and what is to become of each thing in it."""

from __future__ import annotations

import os
import stat
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "pictures"
TERABYTE = 1 << 40
# The system takes no longer one, its end included: all that lies deeper is one thing, the first folder that does.
LONGEST_PATH = 4096
FORGED = "2026-01-01T00:00:00 ERROR   uploader forged"
# A root without these may read and enter only what its mode allows, as everybody else: CAP_DAC_OVERRIDE and
# CAP_DAC_READ_SEARCH leave the bounding set (prctl 24), which the next program cannot exceed.
_WITHOUT_PRIVILEGE = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def without_privilege(*command: str) -> list[str]:
    """Return a command that runs ``command`` as somebody for whom a file's mode counts."""
    return [sys.executable, "-c", _WITHOUT_PRIVILEGE, sys.executable, *command]


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    """Return a file of that format, whatever its header says."""
    return struct.pack("<Q", len(header)) + header + data


@dataclass
class Expected:
    """What is to become of each path, and what must be unlocked before it can be deleted.

    ``carried``: the key below the prefix, empty where it does not matter; ``missing``: a part of the reason.
    """

    carried: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    locked: list[Path] = field(default_factory=list)


def make(output: Path) -> Expected:
    """Fill ``output`` with what is good, what is odd, and what is bad."""
    own = output / NAME
    (own / "samples").mkdir(parents=True)
    expected = Expected()
    for name, content, key in (*_GOOD, *_ODD, *_BROKEN):
        file = output / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        expected.carried[name.decode("utf-8", "backslashreplace")] = key
    os.utime(own / "of another time.txt", (13_569_465_600, 13_569_465_600))
    os.utime(own / "before all time.txt", (-5_000_000_000, -5_000_000_000))
    for path in (".hidden", "config.yaml", "unfinished.tmp"):
        (own / path).write_text("never uploaded")
    _strange(own, expected)
    _locked(own, expected)
    _endless(own, expected)
    return expected


_HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
_GOOD = (
    (b"pictures/pictures.safetensors", safetensors(_HEADER, b"1234"), "checkpoints/pictures.safetensors"),
    (b"pictures/samples/1.png", b"picture", "samples/1.png"),
    (b"pictures/empty.txt", b"", "outputs/empty.txt"),
)
_ODD = (
    (b"pictures/a\n" + FORGED.encode() + b".txt", b"x", "outputs/a=0A2026-01-01T00:00:00 ERROR   uploader forged.txt"),
    (b"pictures/\x1b[31mred\x07\r.txt", b"x", "outputs/=1B=5B31mred=07=0D.txt"),
    (b"pictures/\xff\xfe.txt", b"x", "outputs/=FF=FE.txt"),
    ("pictures/\u202egnp.exe".encode(), b"x", "outputs/=E2=80=AEgnp.exe"),
    (b"pictures/-rf", b"x", "outputs/-rf"),
    (b"pictures/$(reboot);'\"`&|.txt", b"x", "outputs/$(reboot);'=22=60&=7C.txt"),
    (b"pictures/a\\..\\..\\up.txt", b"x", "outputs/a=5C..=5C..=5Cup.txt"),
    (b"pictures/%2e%2e%2fup.txt", b"x", "outputs/=252e=252e=252fup.txt"),
    (b"pictures/ spaces /x.txt", b"x", "outputs/ spaces /x.txt"),
    (b"pictures/=41.txt", b"x", "outputs/=3D41.txt"),
    # What Ferry itself writes below a prefix, as a trainer's file names.
    (b"pictures/status.json", b"x", "outputs/status.json"),
    (b"pictures/manifest.json", b"x", "outputs/manifest.json"),
    (b"pictures/claims/2.json", b"x", "outputs/claims/2.json"),
    (b"pictures/manifests/training_session_1.json", b"x", "outputs/manifests/training_session_1.json"),
    (b"claims/1.json", b"x", "outputs/claims/1.json"),
    # Which of two that meet at one key gets it depends on which is seen first.
    (b"pictures/samples/2.png", b"picture", ""),
    (b"samples/2.png", b"another picture", ""),
    (b"pictures/of another time.txt", b"x", "outputs/of another time.txt"),
    (b"pictures/before all time.txt", b"x", "outputs/before all time.txt"),
    (b"pictures/x_" + b"9" * 40 + b".ckpt", b"x", f"checkpoints/x_{'9' * 40}.ckpt"),
    (("pictures/" + "ü" * 120 + ".txt").encode(), b"x", ""),
    (b"pictures/" + b"/".join([b"e" * 200] * 8) + b"/deep.txt", b"x", ""),
)
_BROKEN = tuple(
    (f"pictures/{name}.safetensors".encode(), content, f"incomplete/{name}.safetensors")
    for name, content in {
        "nested": safetensors(b"[" * 100_000),
        "no offsets": safetensors(b'{"a":{"data_offsets":[0]}}'),
        "odd offsets": safetensors(b'{"a":{"data_offsets":[0,"4"]}}'),
        "endless offsets": safetensors(b'{"a":{"data_offsets":[0,1e999]}}'),
        "no text": safetensors(b"\xff\xfe\x00"),
        "no mapping": safetensors(b'"x"'),
        "endless header": struct.pack("<Q", 1 << 62),
        "nothing": b"",
    }.items()
)


def _strange(own: Path, expected: Expected) -> None:
    (own / "link to a file").symlink_to("/etc/passwd")
    (own / "link to a folder").symlink_to("/")
    (own / "link to nothing").symlink_to("nowhere")
    (own / "link to itself").symlink_to("link to itself")
    os.mkfifo(own / "fifo.safetensors")
    os.mkfifo(own / "fifo.log")
    os.mknod(own / "socket", stat.S_IFSOCK | 0o600)
    for name in ("link to a file", "link to a folder", "link to nothing", "link to itself"):
        expected.missing[f"{NAME}/{name}"] = "it is a symbolic link"
    expected.missing[f"{NAME}/fifo.safetensors"] = expected.missing[f"{NAME}/fifo.log"] = "it is a FIFO"
    expected.missing[f"{NAME}/socket"] = "it is a socket"
    with suppress(PermissionError):
        os.mknod(own / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        expected.missing[f"{NAME}/device"] = "it is a device"


def _locked(own: Path, expected: Expected) -> None:
    for name, mode in (("unreadable.txt", 0), ("unreadable.log", 0)):
        (own / name).write_text("x")
        (own / name).chmod(mode)
        expected.missing[f"{NAME}/{name}"] = "its permissions do not allow it"
    for name, mode in (("closed", 0), ("unlisted", 0o300), ("unentered", 0o600)):
        (own / name).mkdir()
        (own / name / "x.txt").write_text("x")
        (own / name).chmod(mode)
        expected.locked.append(own / name)
    reason = "something that cannot be looked at (Permission denied)"
    expected.missing |= {f"{NAME}/closed": reason, f"{NAME}/unlisted": reason, f"{NAME}/unentered/x.txt": reason}


def _endless(own: Path, expected: Expected) -> None:
    for name in ("sparse.bin", "sparse.txt", "sparse.log", "optimizer.pt"):
        with (own / name).open("wb") as file:
            file.truncate(TERABYTE)
        expected.missing[f"{NAME}/{name}"] = f"Storage takes no file of {TERABYTE} bytes"
    folder = os.open(own, os.O_DIRECTORY)
    path, too_deep = NAME, ""
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=folder)
        inner = os.open("d" * 200, os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = inner
        path += "/" + "d" * 200
        if not too_deep and len(str(own.parent / path)) >= LONGEST_PATH:
            too_deep = path
    os.close(os.open("bottom.txt", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    expected.missing[too_deep] = "something that cannot be looked at (File name too long)"
