"""What there is to fetch: from a manifest, from the objects themselves, and nothing that leads elsewhere."""

from __future__ import annotations

import pytest

from shared.contract.bucket import Entry
from shared.errors import FerryError
from shared.storage.records import FolderListing
from tests.unit.uploader.fetching.shelf import PREFIX, Shelf, running
from tests.unit.uploader.memory_storage import BUCKET, Thing
from uploader.fetching.plan import plan


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_finished_run_is_what_its_manifest_lists(shelf: Shelf) -> None:
    entry = shelf.lay("samples/a.png", b"picture")
    shelf.lay("samples/of_an_earlier_run.png", b"old")
    manifest = shelf.close_run(entry)
    found = shelf.plan()
    assert [(wanted.path, wanted.size, wanted.sha256) for wanted in found.wanted] == [
        ("samples/a.png", 7, entry.sha256)
    ]
    assert (found.manifest, found.refused, found.name) == (manifest, (), "manifest.json")


def test_a_running_one_is_what_lies_in_its_folders(shelf: Shelf) -> None:
    shelf.lay("samples/a.png", b"picture")
    shelf.lay("incomplete/b.safetensors", b"half")
    for other in ("status.json", "claims/1.json", "manifests/old.json", "damaged/c"):
        shelf.objects[f"{PREFIX}/{other}"] = Thing(b"{}", "v", {})
    found = shelf.plan()
    assert [wanted.path for wanted in found.wanted] == ["incomplete/b.safetensors", "samples/a.png"]
    assert (found.manifest, found.status, found.document, found.name) == (None, None, None, "status.json")
    document = running().dump()
    shelf.objects[f"{PREFIX}/status.json"] = Thing(document, "v", {})
    assert (shelf.plan().status, shelf.plan().document) == (running(), document)


HOSTILE = (
    "{prefix}/../../x",
    "{prefix}/samples/../../x",
    "{prefix}/samples//x",
    "{prefix}/samples/./x",
    "{prefix}/samples/a\nb",
    "{prefix}/samples/" + "x" * 300,
    "{prefix}/samples/" + "a/" * 70 + "x",
    "{prefix}/.bashrc",
    "{prefix}/samples",
    "{prefix}-other/samples/x",
    "/etc/samples/x",
    "samples/x",
    "",
)


@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_that_would_lead_elsewhere_is_refused(shelf: Shelf, key: str) -> None:
    good = shelf.lay("samples/a.png", b"picture")
    bad = Entry(key=key.format(prefix=PREFIX), size=1, sha256="0" * 64, path="x", mtime=0.0)
    shelf.close_run(good, bad)
    found = shelf.plan()
    assert [wanted.path for wanted in found.wanted] == ["samples/a.png"]
    [sentence] = found.refused
    assert sentence.startswith(f"{bad.key}: it ")


def test_a_key_that_would_be_file_and_folder_is_refused(shelf: Shelf) -> None:
    entries = [shelf.lay(path, b"x") for path in ("samples/a", "samples/a/b", "samples/a/b/c", "samples/d")]
    shelf.close_run(*entries)
    found = shelf.plan()
    assert [wanted.path for wanted in found.wanted] == ["samples/a/b/c", "samples/d"]
    assert [sentence.partition(":")[0] for sentence in found.refused] == [
        f"{PREFIX}/samples/a",
        f"{PREFIX}/samples/a/b",
    ]


def test_where_no_run_is_one_hears_what_is_there(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {"run": ("other", "pictures"), "run/picture": (), "elsewhere/x": (), "elsewhere": ()}
    monkeypatch.setattr(shelf, "folder", lambda _bucket, prefix: FolderListing(folders[prefix], ()))
    with pytest.raises(FerryError, match="outputs/run is no run, but there is run/other, run/pictures"):
        plan(shelf, BUCKET, "run")
    with pytest.raises(FerryError, match="nothing at outputs/run/picture: outputs/run holds run/other, run/pictures"):
        plan(shelf, BUCKET, "run/picture")
    with pytest.raises(FerryError, match="outputs/elsewhere holds nothing"):
        plan(shelf, BUCKET, "elsewhere/x")


def test_a_manifest_that_nobody_understands_is_no_run_that_goes_on(shelf: Shelf) -> None:
    shelf.lay("samples/a.png", b"picture")
    shelf.objects[f"{PREFIX}/manifest.json"] = Thing(b'{"version": 99}', "v", {})
    with pytest.raises(FerryError, match="no manifest that this version of Ferry understands"):
        shelf.plan()
