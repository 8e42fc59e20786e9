"""``fetch`` as a person runs it: a run that has ended, one that goes on, one that is interrupted, and wrong ones."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import TYPE_CHECKING, cast

import pytest

from local.storage.faults import Answer, Fault
from shared.contract.bucket import Manifest
from shared.storage.body import BytesBody
from tests.scenario.uploader.port import BUCKET, PREFIX, kill, until, write_noise
from tests.scenario.uploader.terminal import at_terminal
from uploader.fetching.folder import PARTS

if TYPE_CHECKING:
    from tests.scenario.uploader.port import Port

CHECKPOINT = "pictures/pictures.bin"
LARGE = 20 << 20


def fetched(harbour: Port, *more: str, code: int = 0, **environ: str) -> str:
    """Fetch the run into ``results``; return what was printed."""
    arguments = ("fetch", "--bucket", BUCKET, "--prefix", PREFIX, str(harbour.folder / "results"), *more)
    process = harbour.start(*arguments, **environ)
    assert (harbour.ends(process), "Traceback" in harbour.printed(process)) == (code, False), harbour.printed(process)
    return harbour.printed(process)


def files(harbour: Port) -> dict[str, str]:
    """Return the SHA-256 of every file that was fetched, by its path."""
    root = harbour.folder / "results"
    found = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def deliver(harbour: Port) -> Manifest:
    """Carry a session to its end."""
    output = harbour.session().output
    write_noise(output / "pictures/samples/a.png", 1000)
    write_noise(output / CHECKPOINT, LARGE, seed=2)
    daemon = harbour.start("run")
    harbour.drain()
    assert kill(daemon, signal.SIGTERM) == 0
    return harbour.checked_manifest()


def sent(harbour: Port) -> int:
    """Return how many bytes of bodies Storage has sent."""
    return sum(cast("dict[str, int]", harbour.server.stats.shown()["sent"]).values())


def listed(manifest: Manifest) -> dict[str, str]:
    return {entry.key.removeprefix(f"{PREFIX}/"): entry.sha256 for entry in manifest.files}


def test_a_run_that_has_ended_comes_as_its_manifest_lists_it(harbour: Port) -> None:
    manifest = deliver(harbour)
    printed = fetched(harbour, TRAINING_ROOT="not absolute")
    assert "run/pictures: finished, 2 objects." in printed
    assert "2 objects in" in printed
    there = files(harbour)
    assert Manifest.parse((harbour.folder / "results/manifest.json").read_bytes()) == manifest
    assert {path: digest for path, digest in there.items() if path != "manifest.json"} == listed(manifest)
    before = sent(harbour)
    assert "(2 had been there before)" in fetched(harbour)
    assert sent(harbour) - before < 100_000
    assert files(harbour) == there


def test_a_fetch_that_is_killed_goes_on_in_the_middle_of_the_object(harbour: Port) -> None:
    manifest = deliver(harbour)
    path = f"{PREFIX}/checkpoints/pictures.bin"
    faults = harbour.server.faults
    faults.add(Fault(method="GET", path=path, count=1, cut_answer_after=LARGE // 2))
    rest = faults.add(Fault(method="GET", path=path, skip=1, latency=600.0, reset=True))
    process = harbour.start("fetch", "--bucket", BUCKET, "--prefix", PREFIX, str(harbour.folder / "results"))
    until(lambda: faults.hits(rest) > 0, "the wish for the other half")
    kill(process, signal.SIGKILL)
    faults.clear()
    before = sent(harbour)
    fetched(harbour)
    assert sent(harbour) - before < LARGE * 3 // 4
    assert not (harbour.folder / "results" / PARTS).exists()
    assert listed(manifest).items() <= files(harbour).items()


def test_ctrl_c_says_how_to_go_on(harbour: Port) -> None:
    deliver(harbour)
    harbour.server.faults.add(Fault(method="GET", path="pictures.bin", latency=600.0))
    process = harbour.start("fetch", "--bucket", BUCKET, "--prefix", PREFIX, str(harbour.folder / "results"))
    until((harbour.folder / "results/samples/a.png").is_file, "the sample")
    process.send_signal(signal.SIGINT)
    assert harbour.ends(process, 20) == 130
    assert "the same command goes on from here" in harbour.printed(process)
    assert "Traceback" not in harbour.printed(process)


def test_a_run_that_goes_on_comes_as_far_as_it_is(harbour: Port) -> None:
    output = harbour.session().output
    digest = write_noise(output / "pictures/samples/a.png", 1000)
    harbour.start("run")
    until(lambda: harbour.is_there("samples/a.png") and harbour.is_there("status.json"), "the sample and the status")
    printed = fetched(harbour)
    assert "not ended yet" in printed
    assert "the same command fetches the rest later" in printed
    assert files(harbour)["samples/a.png"] == digest
    assert (harbour.folder / "results/status.json").is_file()
    harbour.drain()
    until(lambda: harbour.manifest() is not None, "the manifest")
    fetched(harbour)
    assert not (harbour.folder / "results/status.json").exists()
    assert (harbour.folder / "results/manifest.json").is_file()


def test_what_is_wrong_is_listed_and_there_is_no_manifest(harbour: Port) -> None:
    manifest = deliver(harbour)
    fetched(harbour)
    (harbour.folder / "results/samples/a.png").unlink()
    harbour.storage.remove(BUCKET, [f"{PREFIX}/samples/a.png"])
    hostile = manifest.files[0].model_copy(update={"key": f"{PREFIX}/samples/../../../out.png"})
    content = manifest.model_copy(update={"files": (*manifest.files, hostile)}).dump()
    key = f"{PREFIX}/manifest.json"
    harbour.storage.put(BUCKET, key, BytesBody(content), content_type="application/json", metadata={})
    printed = fetched(harbour, code=1)
    assert "samples/a.png" in printed
    assert "would not lie inside the folder" in printed
    assert "1 object in" in printed
    assert set(files(harbour)) == {"checkpoints/pictures.bin"}
    assert not (harbour.folder / "out.png").exists()


def test_what_the_manifest_misses_is_said(harbour: Port) -> None:
    text = json.dumps({"statusCode": "413", "error": "Payload too large", "message": "too large"})
    harbour.server.faults.add(Fault(method="POST", path="bad.txt", answer=Answer(status=400, body=text)))
    write_noise(harbour.session().output / "bad.txt", 10)
    deliver(harbour)
    assert "bad.txt is missing: " in fetched(harbour, code=1)
    assert (harbour.folder / "results/manifest.json").is_file()


def test_two_do_not_fetch_into_one_folder(harbour: Port) -> None:
    deliver(harbour)
    harbour.server.faults.add(Fault(method="GET", path="pictures.bin", latency=600.0))
    harbour.start("fetch", "--bucket", BUCKET, "--prefix", PREFIX, str(harbour.folder / "results"))
    until((harbour.folder / "results/samples/a.png").is_file, "the sample")
    assert "is being fetched into" in fetched(harbour, code=3)


@pytest.mark.parametrize(
    ("prefix", "environ", "code", "sentence"),
    [
        ("run", {}, 2, "outputs/run is no run, but there is run/pictures"),
        ("run/Pictures", {}, 2, "There is nothing at outputs/run/Pictures: outputs/run holds run/pictures"),
        (PREFIX, {"SUPABASE_SERVICE_KEY": ""}, 2, "SUPABASE_SERVICE_KEY is not set"),
        (PREFIX, {"SUPABASE_SERVICE_KEY": "wrong"}, 2, "holds this project's service_role key"),
        (PREFIX, {"SUPABASE_URL": "http://127.0.0.1:9"}, 3, "check SUPABASE_URL"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(
    harbour: Port, prefix: str, environ: dict[str, str], code: int, sentence: str
) -> None:
    harbour.session()
    harbour.start("run")
    until(lambda: harbour.is_there("status.json"), "the status")
    arguments = ("--bucket", BUCKET, "--prefix", prefix, "--patience", "0.1", str(harbour.folder / "results"))
    process = harbour.start("fetch", *arguments, **environ)
    assert (harbour.ends(process), sentence in harbour.printed(process)) == (code, True), harbour.printed(process)
    assert "Traceback" not in harbour.printed(process)


def test_on_a_terminal_there_is_a_bar(harbour: Port) -> None:
    deliver(harbour)
    seen = at_terminal(harbour, "fetch", "--bucket", BUCKET, "--prefix", PREFIX, str(harbour.folder / "results"))
    assert seen.code == 0
    assert "2 of 2 objects" in seen.text
    assert "20.0/20.0 MiB" in seen.text
