"""A proxy before a server that notes what it hears."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from local.proxy.server import RunningProxy, running_proxy
from tests.unit.local.proxy.upstream import SECONDS, Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def behind() -> Iterator[tuple[Upstream, str]]:
    with upstream() as made:
        yield made


@pytest.fixture
def server(behind: tuple[Upstream, str]) -> Upstream:
    return behind[0]


@pytest.fixture
def proxy(behind: tuple[Upstream, str]) -> Iterator[RunningProxy]:
    with running_proxy(behind[1]) as running:
        yield running


@pytest.fixture
def client(proxy: RunningProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=SECONDS) as made:
        yield made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of which a test plays every move."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def before(listener: socket.socket) -> Iterator[RunningProxy]:
    with running_proxy(f"http://127.0.0.1:{listener.getsockname()[1]}") as running:
        yield running
