"""What ``--help`` says of each command: what it is for, how it is called, and what its exit codes mean."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill, indent

from uploader.commands.codes import ExitCode

_WIDTH = 79
_COMMAND = "python -m uploader"


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. ``examples`` are what one types behind the command's name, each with what it does.

    ``wrong`` is what the exit code 1 means; None: there is no such end.
    """

    summary: str
    more: str
    examples: tuple[tuple[str, str], ...]
    wrong: str | None


MANUAL = {
    "run": Entry(
        "the daemon: carries all sessions, and a watched folder",
        "Uploads while files are being written, until it is told to stop. SIGTERM lets it deliver first what is there; "
        "Ctrl-C ends it at once, and it goes on in the middle of the file when it is started again. SIGHUP lets it "
        "read the key's file again.",
        (
            ("", "what the worker's container runs beside the handler"),
            (
                "--watch output --bucket outputs --prefix my-pod",
                "carry every folder in output/, for trainings that are started by hand or in ai-toolkit's own page",
            ),
        ),
        None,
    ),
    "once": Entry(
        "one pass until everything is uploaded and verified",
        "Like the daemon, but it ends when all is in the bucket, with a manifest for each run, or when nothing moves "
        "any more. It also finishes what dead workers have left under TRAINING_ROOT.",
        (
            ("", "bring in everything that lies under TRAINING_ROOT"),
            ("--watch output --bucket outputs --prefix tries", "bring in every folder in output/"),
            ("--patience 600", "wait ten minutes for a Storage that is away"),
        ),
        "not everything is in the bucket; what is missing is listed",
    ),
    "status": Entry(
        "what is uploaded, pending and failed",
        "Reads what the uploaders last wrote down, and asks nobody. On a terminal the table follows as long as "
        "anything moves; Ctrl-C leaves it, and nothing else.",
        (
            ("", "look, and stay until everything has come to rest"),
            ("--no-follow", "look once"),
            ("--watch output", "the runs of a watched folder as well"),
            ("--json | jq '.runs[].failed.files'", "how many files each run has lost"),
            ("--json --follow", "a line of JSON whenever anything has changed"),
        ),
        "a file has been given up",
    ),
    "verify": Entry(
        "compare the bucket with its manifests",
        "Asks the server for its record of each object that a manifest lists. With --deep it downloads all of them.",
        (
            ("", "every session under TRAINING_ROOT"),
            ("--bucket outputs --prefix tries/my_lora", "one run, from any machine"),
            ("--bucket outputs --prefix tries/my_lora --deep", "the same, bit for bit"),
        ),
        "an object is missing or another, a manifest says that something is missing, or there is none",
    ),
    "fetch": Entry(
        "bring a run from the bucket into a folder, and prove it",
        "The run may be finished or not. Every file is compared by its SHA-256. What is there and right is not fetched "
        "again, and what was interrupted goes on in the middle of the file.",
        (
            (
                "--bucket outputs --prefix tries/my_lora results",
                "bring it into the folder results/; once more, and it fetches what is new",
            ),
        ),
        "something could not be had, or the manifest says that it is missing",
    ),
    "retry": Entry(
        "have the daemon try again what had failed for good",
        "For when you have mended what was wrong, such as a limit of the bucket, or want a prefix back that another "
        "run has taken. This command only asks: the daemon that carries the runs does it.",
        (("", "all sessions under TRAINING_ROOT"), ("--watch output", "the runs of a watched folder as well")),
        None,
    ),
    "doctor": Entry(
        "say whether this machine will work, and what to do if not",
        "Looks at settings, disk, toolkit, GPU, Storage, the key, and tries in each bucket what Ferry does there; all "
        "that it makes there it removes again.",
        (
            ("--bucket outputs", "before the first job on a new worker"),
            ("--bucket outputs --watch output", "on a pod where the uploader works alone"),
            ("--json | jq '.checks[] | select(.level != \"ok\")'", "what to look at, for a program"),
        ),
        "something will not work",
    ),
}

_CODES = {
    ExitCode.FINE: "all is well",
    ExitCode.USAGE: "wrong usage or settings, a refused key or a missing bucket among them",
    ExitCode.LATER: "not now: Storage is away, the disk refuses, or another one is at work",
    ExitCode.INTERRUPTED: "ended by Ctrl-C",
}


def description(entry: Entry) -> str:
    """Return what stands above the options."""
    return fill(f"{entry.summary[0].upper()}{entry.summary[1:]}. {entry.more}", _WIDTH)


def epilog(name: str, entry: Entry) -> str:
    """Return what stands below the options: examples, and the exit codes."""
    lines = ["examples:"]
    for arguments, what in entry.examples:
        lines += [f"  {_COMMAND} {name} {arguments}".rstrip(), indent(fill(what, _WIDTH - 6), " " * 6)]
    codes = _CODES if entry.wrong is None else {**_CODES, ExitCode.WRONG: entry.wrong}
    told = [
        fill(codes[code], _WIDTH, initial_indent=f"  {code:<5}", subsequent_indent=" " * 7) for code in sorted(codes)
    ]
    return "\n".join([*lines, "", "exit codes:", *told])
