"""Every call of the Storage client ends by its own time-out, wherever Storage falls silent."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from local.proxy.faults import Fault
from shared.settings import StorageSettings
from shared.storage.body import BytesBody
from shared.storage.client import Storage
from shared.storage.errors import StorageError, Trouble
from tests.scenario.faults.ground import DATASET, DATASETS, OUTPUTS, Ground
from tests.scenario.faults.mishaps import FOR_GOOD, SILENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.storage.body import Body

KEY = f"{DATASET}/0.png"
UPLOAD = "http://storage.test/storage/v1/upload/resumable/x"
CONTENT = BytesBody(b"content")
# More than all buffers on the way take.
ENDLESS = 256 << 20


def read_blocks(storage: Storage) -> None:
    with storage.open(DATASETS, KEY) as download:
        assert list(download.blocks())


CALLS: dict[str, Callable[[Storage], object]] = {
    "bucket": lambda storage: storage.bucket(OUTPUTS),
    "buckets": lambda storage: storage.buckets(),
    "make_bucket": lambda storage: storage.make_bucket(OUTPUTS),
    "remove_bucket": lambda storage: storage.remove_bucket("no-such-bucket"),
    "walk": lambda storage: list(storage.walk(DATASETS, "")),
    "newest": lambda storage: storage.newest(DATASETS, ""),
    "folder": lambda storage: storage.folder(DATASETS, ""),
    "info": lambda storage: storage.info(DATASETS, KEY),
    "takes": lambda storage: storage.takes(OUTPUTS, 1 << 50),
    "move": lambda storage: storage.move(OUTPUTS, "no-such-object", "target"),
    "copy": lambda storage: storage.copy(OUTPUTS, "no-such-object", "target"),
    "remove": lambda storage: storage.remove(OUTPUTS, ["no-such-object"]),
    "signed_urls": lambda storage: storage.signed_urls(DATASETS, [KEY], 60),
    "put": lambda storage: storage.put(OUTPUTS, "put", CONTENT, content_type="text/plain", metadata={}),
    "read": lambda storage: storage.read(DATASETS, KEY),
    "open": read_blocks,
    "create_upload": lambda storage: storage.create_upload("no-such", "k", 9, content_type="text/plain", metadata={}),
    "upload_offset": lambda storage: storage.upload_offset(UPLOAD),
    "append": lambda storage: storage.append(UPLOAD, 0, CONTENT),
    "finish": lambda storage: storage.finish(UPLOAD, 9),
    "terminate": lambda storage: storage.terminate(UPLOAD),
}
SENDING: dict[str, Callable[[Storage, Body], object]] = {
    "put": lambda storage, body: storage.put(OUTPUTS, "endless", body, content_type="text/plain", metadata={}),
    "append": lambda storage, body: storage.append(UPLOAD, 0, body),
}
NO_CALLS = {"close", "renew_key"}
# It asks by HEAD, and the answer to that has no body.
WITHOUT_A_BODY = {"upload_offset"}


@pytest.fixture(scope="module")
def hasty(shared_ground: Ground) -> Iterator[Storage]:
    """A client that bears next to no silence: nothing here is answered in time anyway."""
    with Storage(shared_ground.settings, timeout=0.1) as storage:
        yield storage


class Endless:
    """More bytes than anything takes that stands still; ``given`` counts how many were asked for."""

    size = ENDLESS

    def __init__(self) -> None:
        self.given = 0

    def blocks(self) -> Iterator[bytes]:
        block = bytes(1 << 20)
        while self.given < self.size:
            self.given += len(block)
            yield block


def test_no_call_is_forgotten_here() -> None:
    public = {name for name in vars(Storage) if not name.startswith("_")}
    assert public - NO_CALLS == set(CALLS)


@pytest.mark.guarantee("every-wait-ends", fault="Storage takes a request and never answers")
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_is_not_answered_ends(ground: Ground, hasty: Storage, call: str) -> None:
    ground.rig.faults.add(Fault(black_hole=True))
    with pytest.raises(StorageError, match=SILENCE) as caught:
        CALLS[call](hasty)
    assert caught.value.trouble is Trouble.UNREACHABLE


@pytest.mark.guarantee("every-wait-ends", fault="Storage stands still in the middle of an answer")
@pytest.mark.parametrize("call", sorted(CALLS.keys() - WITHOUT_A_BODY))
def test_a_call_whose_answer_stands_still_ends(ground: Ground, hasty: Storage, call: str) -> None:
    ground.rig.faults.add(Fault(stall=FOR_GOOD, stall_answer_after=1))
    with pytest.raises(StorageError, match=SILENCE) as caught:
        CALLS[call](hasty)
    assert caught.value.trouble is Trouble.UNREACHABLE


@pytest.mark.guarantee("every-wait-ends", fault="Storage stops taking the bytes of an upload in the middle of its body")
@pytest.mark.parametrize("call", SENDING)
def test_an_upload_whose_bytes_are_not_taken_ends(ground: Ground, hasty: Storage, call: str) -> None:
    ground.rig.faults.add(Fault(stall=FOR_GOOD, stall_after=1 << 20))
    body = Endless()
    with pytest.raises(StorageError, match=SILENCE):
        SENDING[call](hasty, body)
    assert body.given < ENDLESS


@pytest.mark.guarantee("every-wait-ends", fault="nobody takes the connection")
def test_a_connection_that_is_not_taken_ends() -> None:
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # With these the queue is full, and who comes now is not heard.
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        settings = StorageSettings(f"http://127.0.0.1:{listener.getsockname()[1]}", "key")
        with Storage(settings, timeout=0.1) as storage, pytest.raises(StorageError, match="there is no connection"):
            storage.bucket(OUTPUTS)


@pytest.mark.guarantee("every-wait-ends", fault="all connections of the process are taken up by calls that hang")
@pytest.mark.parametrize("transport", [None, httpx.HTTPTransport(limits=httpx.Limits(max_connections=1))])
def test_a_call_that_gets_no_connection_ends(ground: Ground, transport: httpx.HTTPTransport | None) -> None:
    ground.rig.faults.add(Fault(method="GET", stall=FOR_GOOD, stall_answer_after=1))
    held = Storage(ground.settings, connections=1, timeout=0.1, transport=transport)
    with held as storage, storage.open(DATASETS, KEY):
        with pytest.raises(StorageError, match="all connections of this process were in use") as caught:
            storage.read(DATASETS, KEY)
        assert caught.value.trouble is Trouble.BUSY
