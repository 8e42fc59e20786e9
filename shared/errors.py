"""The errors that people see: a code that programs can switch on and one sentence that a person can act on."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a job failed. The names are part of the product's interface: more may be added, none changes its meaning."""

    INVALID_INPUT = "invalid_input"
    INVALID_CONFIG = "invalid_config"
    DATASET_NOT_FOUND = "dataset_not_found"
    DATASET_EMPTY = "dataset_empty"
    STORAGE_DENIED = "storage_denied"
    STORAGE_UNREACHABLE = "storage_unreachable"
    BUCKET_NOT_FOUND = "bucket_not_found"
    DISK_FULL = "disk_full"
    UPLOADER_DOWN = "uploader_down"
    TOOLKIT_NOT_FOUND = "toolkit_not_found"
    PREFIX_IN_USE = "prefix_in_use"
    TRAINING_FAILED = "training_failed"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    GPU_UNUSABLE = "gpu_unusable"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    DATA_LOADER_CRASHED = "data_loader_crashed"
    MODEL_ACCESS = "model_access"
    DOWNLOAD_FAILED = "download_failed"
    CHECKPOINT_BROKEN = "checkpoint_broken"
    NAN_LOSS = "nan_loss"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    NO_CHECKPOINT = "no_checkpoint"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    BUSY = "busy"
    INTERNAL = "internal"


class FerryError(Exception):
    """A failure with a code and one sentence saying what, where, and what to do.

    Everything that can go wrong at a boundary becomes one of these; only a defect of Ferry itself is anything else.
    """

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
