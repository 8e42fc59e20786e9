"""The links in an answer, where its job asked for them. An answer without them is better than one that is late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from handler.threads import EndedEarlyError, in_thread
from shared.errors import FerryError
from shared.links import signed_links
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handler.stop import StopRequest
    from handler.workshop import Workshop
    from shared.contract.bucket import Link

_MOST_SECONDS = 10.0

log = EventLog("handler")


async def links_to(
    keys: Sequence[str], session_id: str, bucket: str, seconds: int | None, workshop: Workshop, stop: StopRequest
) -> tuple[Link, ...]:
    """Return links to the objects of ``keys``, good for ``seconds``.

    There are none where the job did not ask for any (None), is to end at once, or Storage fails.
    """
    if seconds is None or stop.reason is not None:
        return ()
    now = workshop.clock.now()
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            return await in_thread(stop, lambda _flag: signed_links(workshop.storage, bucket, keys, seconds, now))
    except FerryError as error:
        log.warning("answer_without_links", session=session_id, reason=error.sentence)
    except TimeoutError:
        log.warning("answer_without_links", session=session_id, reason="Storage does not answer")
    except EndedEarlyError:
        pass
    return ()
