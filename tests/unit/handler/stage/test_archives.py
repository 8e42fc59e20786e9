"""Nothing in an archive reaches outside, fills the disk, or passes for something else."""

from __future__ import annotations

import io
import random
import shutil
import stat
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from handler.stage import archives
from handler.stage.archives import MAX_DIRECTORY_BYTES, safe_members, unpack
from shared.errors import ErrorCode, FerryError
from tests.unit.handler.stage.conftest import zipped

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def unpacked(content: bytes, into: Path) -> tuple[str, ...]:
    archive = into.with_name("a.zip")
    archive.write_bytes(content)
    return unpack(archive, "a.zip", into, lambda: None)


def refusal(content: bytes, into: Path) -> FerryError:
    with pytest.raises(FerryError) as caught:
        unpacked(content, into)
    assert caught.value.sentence.startswith("The archive a.zip ")
    return caught.value


def with_member(member: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


def test_files_folders_and_what_is_skipped(into: Path) -> None:
    members: dict[str, bytes | str] = {
        "cats/": "",
        "cats/1.jpg": b"1",
        "cats\\win\\2.jpg": b"2",
        "__MACOSX/cats/._1.jpg": b"",
        "cats/.DS_Store": b"",
        ".git/config": b"",
        "ä.txt": b"3",
    }
    assert set(unpacked(zipped(members), into)) == {"cats/1.jpg", "cats/win/2.jpg", "ä.txt"}
    assert (into / "cats/win/2.jpg").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("raw", "name"), [("ä.jpg".encode(), "ä.jpg"), (b"\x84.jpg", "ä.jpg"), (b"\xb2\xe2.jpg", "▓Γ.jpg")]
)
def test_names_in_other_encodings(into: Path, raw: bytes, name: str) -> None:
    plain = b"?" * len(raw)
    content = zipped({plain.decode(): b"1"}).replace(plain, raw)
    assert unpacked(content, into) == (name,)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil",
            "a/../../evil",
            "/etc/evil",
            "..\\evil",
            "C:\\evil",
            "c:evil",
            "a//b",
            "a/./b",
            "a\x01b",
            "x" * 256,
        ),
        *("a\nb", "a\rb", "a/" * 64 + "b", "/".join(["x" * 200] * 6)),
    ],
)
def test_a_name_that_leads_out_is_refused(into: Path, name: str) -> None:
    assert refusal(zipped({"1.jpg": b"1", name: b"x"}), into).code is ErrorCode.INVALID_INPUT
    assert not list(into.iterdir())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(into: Path, kind: int) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (kind | 0o777) << 16
    assert "a link or a device" in refusal(with_member(member, b"/etc/passwd"), into).sentence


def test_a_password(into: Path) -> None:
    content = bytearray(zipped({"1.jpg": b"1"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert "is encrypted; upload it without a password" in refusal(bytes(content), into).sentence


def test_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [zipfile.ZipInfo("a"), zipfile.ZipInfo("b")]
    for member in members:
        member.file_size = 1 << 30
    with pytest.raises(FerryError, match="would grow to 2147483648 bytes"):
        safe_members(members, "a.zip", 1 << 20)
    assert set(safe_members(members, "a.zip", 1 << 26)) == {"a", "b"}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(FerryError, match="holds more than 1 files"):
        safe_members(members, "a.zip", 1 << 26)


def test_a_lie_about_the_size(into: Path) -> None:
    """A member that unpacks to more than it says is cut at what it says, and its checksum then tells."""
    content = bytearray(zipped({"1.jpg": b"x" * 1000}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.index(signature) + offset, 10)
    assert "a broken one" in refusal(bytes(content), into).sentence
    assert (into / "1.jpg").stat().st_size <= 10


class _Usage(NamedTuple):
    free: int


def test_no_room(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(free=2))
    error = refusal(zipped({"1.jpg": b"123"}), into)
    assert error.code is ErrorCode.DISK_FULL
    assert "needs 3 bytes unpacked, but the disk has 2 left" in error.sentence


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_meets_on_the_disk_is_refused(into: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.jpg", b"1")
        archive.writestr("1.jpg", b"2")
    assert "holds '1.jpg' twice" in refusal(buffer.getvalue(), into).sentence
    assert "as a file and as a folder" in refusal(zipped({"a": b"1", "a/b": b"2"}), into).sentence


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip", zipped({"1.jpg": b"x" * 1000})[:-30], zipped({"1.jpg": b"x"}).replace(b"PK\x03\x04", b"PKxx")],
    # A zip holds the time of its making: as part of a test's name that would differ from process to process.
    ids=["empty", "no zip", "cut off", "no entry"],
)
def test_what_is_no_archive(into: Path, content: bytes) -> None:
    assert "is no zip archive, or a broken one" in refusal(content, into).sentence


def test_damage_inside(into: Path) -> None:
    content = zipped({"1.jpg": b"some content"}, zipfile.ZIP_STORED).replace(b"some content", b"same content", 1)
    assert "is no zip archive, or a broken one" in refusal(content, into).sentence


def test_an_unusual_compression(into: Path) -> None:
    content = bytearray(zipped({"1.jpg": b"1"}))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", content, content.index(signature) + offset, 9)
    assert "cannot be unpacked" in refusal(bytes(content), into).sentence


def test_unpacking_can_be_stopped(into: Path) -> None:
    archive = into.with_name("a.zip")
    archive.write_bytes(zipped({"1.jpg": b"1"}))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        unpack(archive, "a.zip", into, stop)


def directory_of(count: int) -> bytes:
    """Return an archive that is nothing but a list of ``count`` empty members, in the form that has no limit."""
    entry = b"PK\x01\x02" + struct.pack("<6H3L5H2L", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = len(entry) * count
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    return (
        entry * count
        + end
        + locator
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    )


@pytest.mark.guarantee("contained", fault="an archive lists a million members, which would take a gigabyte to read")
def test_a_bomb_of_members_is_not_even_listed(into: Path) -> None:
    count = MAX_DIRECTORY_BYTES // 47 + 1
    into.with_name("a.zip").write_bytes(directory_of(count))
    tracemalloc.start()
    with pytest.raises(FerryError, match="its list of files is too long"):
        unpack(into.with_name("a.zip"), "a.zip", into, lambda: None)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert "holds 'a' twice" in refusal(directory_of(2), into).sentence


def test_a_name_that_is_no_text_although_it_says_so(into: Path) -> None:
    content = zipped({"ää.jpg": b"1"}).replace("ää".encode(), b"\xff\xfe\xfd\xfc")
    assert "is no zip archive, or a broken one" in refusal(content, into).sentence


def test_a_member_without_a_name(into: Path) -> None:
    content = bytearray(zipped({"a": b"1"}))
    for signature, length, name in ((b"PK\x03\x04", 26, 30), (b"PK\x01\x02", 28, 46)):
        start = content.index(signature)
        struct.pack_into("<H", content, start + length, 0)
        del content[start + name]
    end = content.index(b"PK\x05\x06")
    struct.pack_into("<2L", content, end + 12, *(value - 1 for value in struct.unpack_from("<2L", content, end + 12)))
    assert "would not lie inside the dataset" in refusal(bytes(content), into).sentence


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.guarantee("contained", fault="an archive's bytes are changed at random")
@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_bytes_are_an_archive_is_unpacked_inside_or_refused(
    into: Path, method: int, recwarn: pytest.WarningsRecorder
) -> None:
    chance = random.Random(method)
    whole = zipped({"a/1.jpg": b"some content " * 40, "ä.txt": "x" * 100, "b/c/2.txt": b""}, method)
    refused = 0
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            start = chance.randrange(len(content))
            changed = chance.choice(
                [b"\x00", b"\xff", b"\xff" * 4, b"\x00" * 4, b"../", bytes([chance.randrange(256)])]
            )
            content[start : start + len(changed)] = changed
        try:
            paths = unpacked(bytes(content), into)
        except FerryError:
            refused += 1
        else:
            assert all((into / path).resolve().is_relative_to(into) for path in paths)
        assert {path.name for path in into.parent.iterdir()} == {"a.zip", "into"}
        shutil.rmtree(into)
        into.mkdir()
    assert 20 < refused < 100
