"""A seccomp filter that stops a process for its tracer at the calls that matter, and at no other.

The program is classic BPF over ``struct seccomp_data``: the call's number at byte 0, the architecture at byte 4, and
the arguments, eight bytes each, from byte 16 on (see seccomp(2)).
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

from tests.scenario.steps.calls import CALLS, CREATING, OPEN, OPENAT

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_X86_64 = 0xC000003E
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def stop_at_calls() -> None:
    """Have the kernel stop this process, and its threads to come, at each of ``CALLS``. Raises OSError."""
    program = b"".join(_instructions())
    libc = ctypes.CDLL(None, use_errno=True)
    filled = _Program(len(program) // 8, program)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filled), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")


def _instructions() -> Iterable[bytes]:
    yield _instruction(_LOAD, _ARCHITECTURE)
    yield _instruction(_EQUAL, _X86_64, then=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _NUMBER)
    for number in CALLS:
        if number in {OPEN, OPENAT}:
            # The flags are the argument behind the path.
            flags = _ARGUMENTS + 8 * (1 if number == OPEN else 2)
            yield _instruction(_EQUAL, number, otherwise=4)
            yield _instruction(_LOAD, flags)
            yield _instruction(_ANY_BIT, CREATING, otherwise=1)
            yield _instruction(_RETURN, _TRACE)
        else:
            yield _instruction(_EQUAL, number, otherwise=1)
            yield _instruction(_RETURN, _TRACE)
            continue
        yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
