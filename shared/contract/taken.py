"""``.workers/{worker}.job``: the job that a worker has taken and RunPod may not have its answer to."""

from __future__ import annotations

from typing import Any

from shared.contract.document import Document


class Taken(Document):
    """A job, by RunPod's id, and its answer once there is one: what opens something is left out of it."""

    job_id: str
    answer: dict[str, Any] | None = None
