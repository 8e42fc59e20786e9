"""Knobs for tests and demonstrations, under ``config.process[0].ferry``; ai-toolkit itself ignores that key.

=================== ==================================================================================================
``writes``          How a checkpoint comes into being, as the releases of safetensors differ: ``growing`` in place (up
                    to 0.7), ``preallocated`` at its full size and then filled, or ``renamed`` from a ``.tmp…`` sibling
                    with mode 0600 (the default). Where it is not set, the environment's ``FERRY_TRAINER_WRITES``.
``pad_mb``          Adds a tensor of so many MB of noise to each checkpoint; ``pad_final_mb`` to the last one only.
``write_seconds``   Each checkpoint and each optimizer state takes so long to write.
``step_seconds``    Each step takes at least so long; ``sample_seconds`` each picture that is sampled.
``stop_seconds``    Time between SIGINT and the exit.
``ignore_sigint``   SIGINT does nothing.
``misbehave``       A mapping: ``kind`` happens at ``step`` (before that step is trained; while the model is loaded
                    where ``step`` is not set), with ``once: true`` only in a run that did not resume.
=================== ==================================================================================================

Kinds: ``hang`` (no output, no CPU time), ``error`` (raises ``message``, so exit 1), ``exit`` (leaves with ``code``, 0
where not set, and no final checkpoint), ``signal`` (dies by ``signal``, 9 where not set), ``nan`` (the loss, from there
on), ``oom`` (skips three batches and gives up at the fourth, as with a full GPU), ``tell`` (prints its whole
environment in several ways; with a ``code`` other than 0 it dies of an error that holds it).
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import NoReturn

from .section import ConfigError, Section

WAYS = ("growing", "preallocated", "renamed")
KINDS = ("", "hang", "error", "exit", "signal", "nan", "oom", "tell")
MEGABYTE = 1_000_000


class OutOfMemoryError(RuntimeError):
    """What a full GPU raises in a step."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One thing that goes wrong at one step; ``step`` is None for the time before the first."""

    kind: str = ""
    step: int | None = None
    once: bool = False
    message: str = "CUDA error: an illegal memory access was encountered"
    code: int = 0
    signum: int = signal.SIGKILL

    def strike(self, step: int | None, *, resumed: bool) -> None:
        """Go wrong, if this is the step to do so."""
        if self.once and resumed:
            return
        if self.kind == "oom" and self._from(step):
            raise OutOfMemoryError("CUDA out of memory.")
        if step == self.step:
            self._strike()

    def turns_nan(self, step: int) -> bool:
        """Whether the loss of ``step`` is not a number any more."""
        return self.kind == "nan" and self._from(step)

    def _from(self, step: int | None) -> bool:
        return step is not None and self.step is not None and step >= self.step

    def _strike(self) -> None:
        match self.kind:
            case "hang":
                _hang()
            case "error":
                raise RuntimeError(self.message)
            case "exit":
                raise SystemExit(self.code)
            case "signal":
                os.kill(os.getpid(), self.signum)
            case "tell":
                _tell()
                if self.code:
                    raise RuntimeError(" ".join(os.environ.values()))


@dataclass(frozen=True, slots=True)
class Knobs:
    """The knobs, with seconds as seconds and sizes in bytes."""

    writes: str
    pad_bytes: int
    pad_final_bytes: int
    write_seconds: float
    step_seconds: float
    sample_seconds: float
    stop_seconds: float
    ignore_sigint: bool
    misbehaviour: Misbehaviour


def read_knobs(section: Section) -> Knobs:
    """The knobs of a process's ``ferry`` section; ``ConfigError`` for a way or a kind that does not exist."""
    return Knobs(
        writes=_one_of(section, "writes", WAYS, os.environ.get("FERRY_TRAINER_WRITES") or "renamed"),
        pad_bytes=int(section.number("pad_mb", 0) * MEGABYTE),
        pad_final_bytes=int(section.number("pad_final_mb", 0) * MEGABYTE),
        write_seconds=section.number("write_seconds", 0),
        step_seconds=section.number("step_seconds", 0),
        sample_seconds=section.number("sample_seconds", 0),
        stop_seconds=section.number("stop_seconds", 0),
        ignore_sigint=section.flag("ignore_sigint"),
        misbehaviour=_read_misbehaviour(section.section("misbehave")),
    )


def _read_misbehaviour(section: Section) -> Misbehaviour:
    return Misbehaviour(
        kind=_one_of(section, "kind", KINDS, ""),
        step=None if section.values.get("step") is None else section.integer("step", 0),
        once=section.flag("once"),
        message=section.text("message", Misbehaviour().message),
        code=section.integer("code", 0),
        signum=section.integer("signal", signal.SIGKILL),
    )


def _one_of(section: Section, key: str, choices: tuple[str, ...], default: str) -> str:
    value = section.text(key, default)
    if value not in choices:
        raise ConfigError(f"{section.where}.{key} must be one of {', '.join(filter(None, choices))}, not {value!r}")
    return value


def _tell() -> None:
    print(sys.argv, dict(os.environ))
    for name, value in os.environ.items():
        print(f"{name}={value}\n{json.dumps({name: value})}\n\x1b[1m{value[:6]}\x1b[0m{value[6:]}")
        print(f"\r{value}:  10%|#         | 1/10 [00:01<00:09,  1.00s/it]", end="", file=sys.stderr)
        print(f"\r{value}:  11%|#         | 1/10 [00:01<00:09,  1.00s/it]", end="\r", file=sys.stderr)
        print(f"\r{value}", end="\r", file=sys.stderr)


def _hang() -> NoReturn:
    while True:
        signal.pause()
