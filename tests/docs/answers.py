"""Runs that have ended, for the real answers that the pages are compared with."""

from __future__ import annotations

from handler.answer import Finished
from handler.drain import Drained
from shared.contract.process import identify
from shared.contract.session import Ending, Outcome, Progress, Session
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode


def ended(outcome: Outcome) -> Finished:
    """Return a job that came to its end, with everything in the bucket."""
    session = Session(
        session_id="training_session_1",
        worker="worker",
        handler=identify(),
        input_hash="0",
        model_name="my_lora",
        name="my_lora",
        bucket="bucket",
        prefix="prefix/my_lora",
        created_at=0.0,
        progress=Progress(step=1, total=2, loss=0.5),
    )
    code = None if outcome is Outcome.FINISHED else ErrorCode.TRAINING_FAILED
    return Finished(
        session=session,
        ending=Ending(outcome=outcome, by_itself=True, error_code=code, at=1.0),
        drained=Drained(DrainReceipt(token="t", complete=True, manifest_key="m"), Upload(worker="worker")),
        output_path="/output",
        tail=("last line",),
        seconds=1.0,
        warnings=(),
    )
