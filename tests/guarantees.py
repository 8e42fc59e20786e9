"""What Ferry promises, and the mark by which a test says which promise it tries.

``@pytest.mark.guarantee("whole", fault="a file is rewritten while it is sent")`` stands on each test that breaks
something on purpose; ``docs/guarantees.md`` is made of these marks and of the tests' own names.
"""

from __future__ import annotations

PROMISES = {
    "nothing-lost": "Every version of a file that the training completed reaches the bucket, or is named as missing.",
    "whole": "No half-written file, and no mixture of two versions, is ever published as complete.",
    "true-manifest": "What a manifest lists is in the bucket, bit for bit, and it is written last.",
    "resumed-upload": "After a kill an upload goes on inside the file: at most one chunk of it is sent again.",
    "resumed-training": "An interrupted training goes on at its newest whole checkpoint, on any worker.",
    "trained-once": "A job that is delivered twice is trained once.",
    "one-writer": "Two never write under one prefix, and two trainers never share a GPU.",
    "handler-death": "A handler that dies costs nothing: its training is finished, and its job is answered.",
    "undisturbed": "No trouble with Storage, and nothing that Ferry does, stops, slows or fails a training.",
    "every-wait-ends": "Every wait has an end: for Storage, for the trainer, for the drain.",
    "told": "What went wrong is told in a sentence, with what to do, where a person will see it.",
    "contained": "What a job or a file name says reaches nothing outside the job's own session.",
    "secret": "Secrets reach only those who need them: no file, no bucket, no log, no answer.",
}
