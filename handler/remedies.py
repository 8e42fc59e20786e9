"""What makes smaller what was too large, by what the trainer was at, and what to do about files that are broken."""

from __future__ import annotations

from handler.activity import Activity

_LARGER_GPU = ", or take a GPU with more memory"
_LOADING_ROOM = f"turn on model.quantize, model.quantize_te and model.low_vram{_LARGER_GPU}"
_SAMPLING_ROOM = (
    "lower sample.width, sample.height or sample.num_frames, or leave samples out with train.disable_sampling"
    f"{_LARGER_GPU}"
)
TRAINING_ROOM = (
    "lower train.batch_size or the datasets' resolution, turn on train.gradient_checkpointing, model.quantize or "
    f"model.low_vram{_LARGER_GPU}"
)
ROOM = {
    Activity.DOWNLOADING: _LOADING_ROOM,
    Activity.LOADING: _LOADING_ROOM,
    Activity.QUANTIZING: _LOADING_ROOM,
    Activity.LATENTS: f"lower the datasets' resolution or num_frames{_LARGER_GPU}",
    Activity.CAPTIONS: f"turn on model.quantize_te{_LARGER_GPU}",
    Activity.BASELINE: _SAMPLING_ROOM,
    Activity.SAMPLING: _SAMPLING_ROOM,
}
OUTPUT_SPACE = "give the worker more disk space, or keep fewer checkpoints (save.max_step_saves_to_keep)"
_MODEL_SPACE = (
    "give the worker more disk space, or put HF_HOME on a larger volume and delete models that are not needed"
)
SPACE = dict.fromkeys((Activity.DOWNLOADING, Activity.LOADING), _MODEL_SPACE)
BROKEN_CHECKPOINT = (
    'The checkpoint {path} is broken: replace it if the configuration names it, else send the job with "resume": false '
    "to begin anew"
)
BROKEN_MODEL = (
    "A file of the model is broken, as after a download that was cut off: delete the model below HF_HOME, and run the "
    "job again"
)
