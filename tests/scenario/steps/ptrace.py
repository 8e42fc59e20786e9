"""ptrace(2) on Linux and x86-64, as much of it as following a process and changing a system call takes."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys

_TRACEME, _CONT, _GETREGS, _SETREGS, _SETOPTIONS = 0, 7, 12, 13, 0x4200
_TRACECLONE, _TRACESECCOMP, _EXITKILL = 0x8, 0x80, 0x100000
_EVENT_CLONE, _EVENT_SECCOMP = 3, 7
WALL = 0x40000000
"""For waitpid: threads, too."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class Registers(ctypes.Structure):
    """``struct user_regs_struct``. At a stop before a call, ``orig_rax`` is its number."""

    _fields_ = tuple(
        (name, ctypes.c_ulonglong)
        for name in (
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
            *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        )
    )

    @property
    def number(self) -> int:
        """Return which system call is about to be made."""
        return int(self.orig_rax)

    @property
    def arguments(self) -> tuple[int, ...]:
        """Return its arguments."""
        return tuple(int(value) for value in (self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9))


def supported() -> bool:
    """Return whether this module fits the machine; whether the kernel allows it, only trying shows."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def ask_to_be_traced() -> None:
    """Make the parent this process's tracer and wait for it. Raises OSError where that is not allowed."""
    _ptrace(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def follow(pid: int) -> None:
    """Have the stopped process ``pid`` stop for its filter, with all its threads, and die with its tracer."""
    _ptrace(_SETOPTIONS, pid, _TRACECLONE | _TRACESECCOMP | _EXITKILL)


def is_at_call(status: int) -> bool:
    """Return whether a stop is one before a call that the filter names."""
    return status >> 8 == signal.SIGTRAP | _EVENT_SECCOMP << 8


def is_event(status: int) -> bool:
    """Return whether a stop is the tracing's own, and no signal for the process."""
    number = os.WSTOPSIG(status)
    return status >> 16 != 0 or number in {signal.SIGSTOP, signal.SIGTRAP}


def registers(pid: int) -> Registers:
    """Return the registers of a stopped thread."""
    values = Registers()
    _ptrace(_GETREGS, pid, ctypes.addressof(values))
    return values


def refuse(pid: int, values: Registers, error: int) -> None:
    """Have the call that a stopped thread is about to make do nothing and fail with ``error``."""
    values.orig_rax = 2**64 - 1
    values.rax = 2**64 - error
    _ptrace(_SETREGS, pid, ctypes.addressof(values))


def go_on(pid: int, number: int = 0) -> None:
    """Let a stopped thread run on, delivering signal ``number``."""
    _ptrace(_CONT, pid, number)


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace: {os.strerror(error)}")
