"""``.workers/{worker}.job``: the job that a worker has taken and RunPod may not have its answer to."""

from __future__ import annotations

from shared.contract.document import Document


class Taken(Document):
    """A job, by RunPod's id."""

    job_id: str
