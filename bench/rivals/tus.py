"""tuspy, as Supabase's documentation shows it for resumable uploads from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tusclient.client import TusClient

if TYPE_CHECKING:
    from bench.task import Task


def tuspy(task: Task) -> None:
    """Upload one file after the other in chunks."""
    client = TusClient(
        f"{task.endpoint.url}/storage/v1/upload/resumable",
        headers={"Authorization": f"Bearer {task.endpoint.key}", "x-upsert": "true"},
    )
    for path in task.files:
        with path.open("rb") as file:
            uploader = client.uploader(
                file_stream=file,
                chunk_size=task.chunk,
                metadata={
                    "bucketName": task.bucket,
                    "objectName": f"{task.prefix}/{path.name}",
                    "contentType": "application/octet-stream",
                    "cacheControl": "3600",
                },
            )
            uploader.upload()
