from __future__ import annotations

import hashlib
import threading

import pytest

from shared.behind import behind
from uploader.fingerprint import Running

BLOCKS = [bytes([number]) * 1000 for number in range(100)]


class Held:
    """A digest that takes nothing in before it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.taken: list[bytes] = []

    def update(self, data: bytes, /) -> None:
        self.may.wait(10)
        self.taken.append(data)


def test_a_digest_that_is_taken_behind_is_that_of_all_blocks_in_their_order() -> None:
    digest = Running()
    with behind() as digests:
        for block in BLOCKS:
            digests.update(digest, block)
        digests.catch_up()
        assert digest.sha256 == hashlib.sha256(b"".join(BLOCKS)).hexdigest()
        assert digest.md5 == hashlib.md5(b"".join(BLOCKS)).hexdigest()


def test_whoever_sends_is_only_some_blocks_ahead() -> None:
    digest, given = Held(), list[bytes]()
    with behind() as digests:

        def send() -> None:
            for block in BLOCKS:
                digests.update(digest, block)
                given.append(block)

        sender = threading.Thread(target=send)
        sender.start()
        sender.join(0.2)
        assert sender.is_alive()
        assert len(given) < len(BLOCKS) / 2
        digest.may.set()
        sender.join(10)
        digests.catch_up()
    assert digest.taken == BLOCKS


def test_what_is_asked_for_in_between_is_as_of_then() -> None:
    digest = Running()
    with behind() as digests:
        digests.update(digest, b"abc")
        then = digests.then(digest.copy)
        digests.update(digest, b"def")
        assert then.result(10).sha256 == hashlib.sha256(b"abc").hexdigest()
        digests.catch_up()
    assert digest.sha256 == hashlib.sha256(b"abcdef").hexdigest()


class Broken:
    """A digest that fails."""

    def update(self, data: bytes, /) -> None:
        raise MemoryError(len(data))


def test_what_goes_wrong_is_told_to_whoever_waits() -> None:
    with behind() as digests:
        digests.update(Broken(), b"abc")
        with pytest.raises(MemoryError):
            digests.catch_up()


def test_the_thread_ends_with_its_use() -> None:
    with behind() as digests:
        digests.update(Running(), b"abc")
        assert _threads()
    assert not _threads()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("digest")]
