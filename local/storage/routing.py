"""Storage's routes. They match any path, line breaks included, so that what is wrong with a key is said of the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

PREFIX = "/storage/v1"
_KEY = "key"


class _KeyConvertor(Convertor[str]):
    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(_KEY, _KeyConvertor())


def route(path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
    """Return the route of ``path`` below the prefix, for those methods and no other.

    ``{key}`` stands for the rest of the path.
    """
    made = Route(PREFIX + path.replace("{key}", f"{{key:{_KEY}}}"), endpoint, methods=methods)
    made.methods = set(methods)
    return made
