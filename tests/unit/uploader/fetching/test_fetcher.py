"""Objects come whole and proved, or not at all, and what was interrupted goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.errors import FerryError
from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.fetching.shelf import PREFIX, Errand, Shelf, running
from uploader.fetching.fetcher import Fetched, StoppedError
from uploader.fetching.folder import PARTS

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"0123456789abcdef"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def errand(shelf: Shelf, tmp_path: Path) -> Errand:
    return Errand(shelf, tmp_path / "results")


def parts(errand: Errand) -> list[bytes]:
    folder = errand.folder.root / PARTS
    return [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []


def test_an_object_comes_over_as_many_connections_as_it_takes(shelf: Shelf, errand: Errand) -> None:
    shelf.close_run(shelf.lay("checkpoints/a.safetensors", CONTENT))
    shelf.breaks["checkpoints/a.safetensors"] = [4, 8]
    [wanted] = shelf.plan().wanted
    assert errand.fetch(wanted) is Fetched.ANEW
    assert (errand.folder.root / "checkpoints/a.safetensors").read_bytes() == CONTENT
    assert [start for _, start in sorted(shelf.opened)] == [0, 4, 8]
    assert errand.counted == len(CONTENT)
    assert parts(errand) == []


def test_what_was_interrupted_goes_on_inside_the_object(shelf: Shelf, errand: Errand, tmp_path: Path) -> None:
    shelf.close_run(shelf.lay("checkpoints/a.safetensors", CONTENT))
    [wanted] = shelf.plan().wanted
    shelf.while_reading = lambda key: errand.stop.set() if shelf.opened else None
    with pytest.raises(StoppedError):
        errand.fetch(wanted)
    assert not (errand.folder.root / wanted.path).exists()
    [part] = parts(errand)
    assert CONTENT.startswith(part)
    assert part
    again = Errand(shelf, tmp_path / "results")
    shelf.while_reading = lambda key: None
    shelf.opened.clear()
    assert again.fetch(wanted) is Fetched.ANEW
    assert list(shelf.opened) == [(wanted.path, len(part))]
    assert again.counted == len(CONTENT)
    assert (errand.folder.root / wanted.path).read_bytes() == CONTENT


def test_a_damaged_part_is_thrown_away_and_the_object_fetched_anew(shelf: Shelf, errand: Errand) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    [wanted] = shelf.plan().wanted
    errand.stop.set()
    with pytest.raises(StoppedError):
        errand.fetch(wanted)
    [part] = (errand.folder.root / PARTS).iterdir()
    part.write_bytes(b"xxxx")
    errand.stop.clear()
    errand.counted = 0
    assert errand.fetch(wanted) is Fetched.ANEW
    assert (errand.folder.root / wanted.path).read_bytes() == CONTENT
    assert errand.counted == len(CONTENT)


def test_an_object_that_is_there_and_right_is_not_fetched_again(shelf: Shelf, errand: Errand) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    [wanted] = shelf.plan().wanted
    errand.fetch(wanted)
    shelf.opened.clear()
    assert errand.fetch(wanted) is Fetched.THERE
    assert not shelf.opened


def test_a_file_of_the_same_size_with_another_content_is_replaced(shelf: Shelf, errand: Errand) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    target = errand.folder.target("samples/a.png")
    target.parent.mkdir()
    target.write_bytes(CONTENT[::-1])
    assert errand.fetch(shelf.plan().wanted[0]) is Fetched.ANEW
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT[:8], CONTENT * 2], ids=["other", "shorter", "longer"])
def test_what_is_not_what_the_manifest_lists_gets_no_name(shelf: Shelf, errand: Errand, content: bytes) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    shelf.lay("samples/a.png", content)
    with pytest.raises(StorageError) as raised:
        errand.fetch(shelf.plan().wanted[0])
    assert raised.value.trouble is Trouble.CHANGED
    assert f"{PREFIX}/samples/a.png" in raised.value.sentence
    assert not (errand.folder.root / "samples/a.png").exists()
    assert parts(errand) == []


def test_a_log_that_grows_while_it_is_fetched_comes_as_some_version_of_it(shelf: Shelf, errand: Errand) -> None:
    shelf.lay("logs/training.log", CONTENT)
    [wanted] = shelf.plan().wanted
    longer = CONTENT * 2

    def grow(key: str) -> None:
        if shelf.objects[key].content != longer:
            shelf.lay("logs/training.log", longer)

    shelf.while_reading = grow
    assert errand.fetch(wanted) is Fetched.ANEW
    assert (errand.folder.root / wanted.path).read_bytes() in {CONTENT, longer}


def test_without_a_digest_the_servers_own_is_taken(shelf: Shelf, errand: Errand) -> None:
    shelf.lay("outputs/by_somebody_else", CONTENT)
    shelf.objects[f"{PREFIX}/outputs/by_somebody_else"].metadata.clear()
    [wanted] = shelf.plan().wanted
    assert errand.fetch(wanted) is Fetched.ANEW
    assert errand.fetch(wanted) is Fetched.THERE


def test_an_object_that_is_gone_is_said_to_be(shelf: Shelf, errand: Errand) -> None:
    shelf.lay("samples/a.png", CONTENT)
    [wanted] = shelf.plan().wanted
    shelf.objects.clear()
    with pytest.raises(StorageError, match="it is not in the bucket"):
        errand.fetch(wanted)


def test_an_empty_object_becomes_an_empty_file(shelf: Shelf, errand: Errand) -> None:
    shelf.close_run(shelf.lay("outputs/empty", b""))
    assert errand.fetch(shelf.plan().wanted[0]) is Fetched.ANEW
    assert (errand.folder.root / "outputs/empty").read_bytes() == b""


@pytest.mark.parametrize("linked", ["samples", PARTS])
def test_a_link_that_leads_out_of_the_folder_is_not_followed(
    shelf: Shelf, errand: Errand, tmp_path: Path, linked: str
) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    outside = tmp_path / "outside"
    outside.mkdir()
    (errand.folder.root / linked).symlink_to(outside)
    with pytest.raises(FerryError, match="by a symbolic link"):
        errand.fetch(shelf.plan().wanted[0])
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_leads_to_stays(
    shelf: Shelf, errand: Errand, tmp_path: Path
) -> None:
    shelf.close_run(shelf.lay("samples/a.png", CONTENT))
    outside = tmp_path / "outside"
    outside.write_bytes(CONTENT)
    target = errand.folder.target("samples/a.png")
    target.parent.mkdir()
    target.symlink_to(outside)
    assert errand.fetch(shelf.plan().wanted[0]) is Fetched.ANEW
    assert not target.is_symlink()
    assert outside.read_bytes() == CONTENT


def test_another_runs_manifest_goes_before_anything_that_it_lists_is_replaced(shelf: Shelf, errand: Errand) -> None:
    document = shelf.close_run(shelf.lay("samples/a.png", CONTENT)).dump()
    errand.folder.keep("manifest.json", document)
    errand.folder.keep("status.json", running().dump())
    errand.folder.withdraw(document)
    assert [path.name for path in errand.folder.root.iterdir()] == ["manifest.json"]
    errand.folder.withdraw(b"another")
    assert list(errand.folder.root.iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "status.json"])
def test_a_file_that_somebody_else_has_called_so_stays(errand: Errand, name: str) -> None:
    path = errand.folder.target(name)
    path.write_text('{"name": "my web page"}')
    with pytest.raises(FerryError, match=f"{name} is something else than a run's"):
        errand.folder.withdraw(b"document")
    assert path.read_text() == '{"name": "my web page"}'
