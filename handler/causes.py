"""What a trainer's last words mean: the lines of ai-toolkit, PyTorch and huggingface_hub that name a cause.

As ai-toolkit 0.12.26 and what its image installs word them, and some older versions. A sentence says what happened and
what to do. It may use the groups of its pattern by name, and these words:

``{doing}``    what the trainer was at
``{room}``     what takes less of the GPU's memory in that
``{space}``    what takes less of the disk in that
``{broken}``   the checkpoint that the run was to go on with, or a file of the model, and what to do about it
``{meant}``    the known name that is nearest to the group ``name``
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Cause:
    """Lines that fit ``pattern`` have this ``code`` and ``sentence``."""

    code: ErrorCode
    pattern: re.Pattern[str]
    sentence: str


def _cause(code: ErrorCode, pattern: str, sentence: str) -> Cause:
    return Cause(code, re.compile(pattern), sentence)


# The first that fits counts: what is special before what is general.
CAUSES = (
    _cause(
        ErrorCode.DISK_FULL,
        r"No space left on device|\bos error 28\b|Disk quota exceeded|\bos error 122\b|unexpected pos \d+ vs \d+",
        "The disk was full while the trainer was {doing}: {space}.",
    ),
    _cause(
        ErrorCode.HOST_OUT_OF_MEMORY,
        r"out of shared memory|insufficient shared memory|DataLoader worker .* killed by signal: Bus error",
        "The shared memory of the container was full while the trainer was {doing}: set num_workers to 0 for the "
        "dataset, or give the container a larger /dev/shm.",
    ),
    _cause(
        ErrorCode.HOST_OUT_OF_MEMORY,
        r"killed by signal: Killed|Cannot allocate memory|\bMemoryError\b|DefaultCPUAllocator",
        "The worker's memory was full while the trainer was {doing}: take a worker with more RAM, or set num_workers "
        "to 0 and cache latents to disk.",
    ),
    _cause(
        ErrorCode.DATA_LOADER_CRASHED,
        r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?P<how>exited unexpectedly|is killed by signal: [\w ]+)",
        "A data loader of the trainer {how} while it was {doing}: run the job again; if it happens again, set "
        "num_workers to 0 for the dataset, which shows what file it fails at.",
    ),
    _cause(
        ErrorCode.GPU_OUT_OF_MEMORY,
        r"CUDA out of memory|OutOfMemoryError|OOM during training step|CUDA error: out of memory|ALLOC_FAILED",
        "The GPU's memory was full while the trainer was {doing}: {room}.",
    ),
    _cause(
        ErrorCode.GPU_UNUSABLE,
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        "The worker's NVIDIA driver is too old for the trainer's PyTorch: restrict the endpoint to hosts with the CUDA "
        "version of the image (13.0) or a newer one, and run the job again.",
    ),
    _cause(
        ErrorCode.GPU_UNUSABLE,
        r"no kernel image is available for execution",
        "The trainer's PyTorch does not know the worker's kind of GPU: choose another one for the endpoint.",
    ),
    _cause(
        ErrorCode.GPU_UNUSABLE,
        r"Found no NVIDIA driver|No CUDA GPUs are available|CUDA unknown error|not compiled with CUDA enabled"
        r"|CUDA-capable device\S* \S+ busy|uncorrectable ECC error|Driver/library version mismatch",
        "The trainer finds no GPU that works on this worker: run the job again, on another worker.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"Access to model (?P<model>\S+) is restricted\. You must (?:have access|be authenticated)",
        "The model {model} is given out only to accounts that have accepted its licence, and the trainer has no token "
        "of one: accept it on the model's page, and set HF_TOKEN on the endpoint to a token of that account.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"Access to model (?P<model>\S+) is restricted and you are not|Your request to access model (?P<asked>\S+)",
        "The account of HF_TOKEN may not read the model {model}: accept its licence at https://huggingface.co/{model} "
        "with that account, and wait until it is granted.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"Invalid (?:username or password|user token|credentials in Authorization header)|LocalTokenNotFoundError",
        "Hugging Face does not know the token in HF_TOKEN: set it on the endpoint to a token that is valid and may "
        "read the model.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"Repository Not Found for url: https://huggingface\.co/(?:api/models/)?(?P<model>[\w.-]+/[\w.-]*\w)"
        r"|^(?:OSError: )?(?P<asked>\S+) is not a local folder and is not a valid model identifier",
        "Hugging Face has no model {model}, or does not show it to the account of HF_TOKEN: correct the name, and for "
        "a private model set HF_TOKEN on the endpoint.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"Entry Not Found for url: https://huggingface\.co/(?P<model>[\w.-]+/[\w.-]+)/resolve/[^/]+/(?P<file>\S+[^\s.])"
        r"|^(?:OSError: )?(?P<asked>\S+) does not appear to have a file named (?P<missing>\S+[^\s.])",
        "The model {model} on Hugging Face has no file {file}: correct the path in the configuration.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"(?:gated repo|40[13] Client Error).*huggingface\.co/(?:api/models/)?(?P<model>[\w.-]+/[\w.-]*\w)",
        "Hugging Face does not give out the model {model}: accept its licence on its page, and set HF_TOKEN on the "
        "endpoint to a token that may read it.",
    ),
    _cause(
        ErrorCode.MODEL_ACCESS,
        r"gated repo|GatedRepoError|RepositoryNotFoundError|is not a valid model identifier|401 Client Error"
        r"|403 Client Error|403 Forbidden",
        "Hugging Face does not give out a model that the configuration names: check its name, accept its licence on "
        "its page, and set HF_TOKEN on the endpoint to a token that may read it.",
    ),
    _cause(
        ErrorCode.DOWNLOAD_FAILED,
        r"429 (?:Client Error|Too Many Requests)",
        "Hugging Face refuses more downloads for now: run the job again later, with HF_TOKEN set and HF_HOME on a "
        "network volume.",
    ),
    _cause(
        ErrorCode.DOWNLOAD_FAILED,
        r"Temporary failure in name resolution|Name or service not known|Max retries exceeded|LocalEntryNotFoundError"
        r"|in the local cache\. Please check your connection|Read ?[tT]imed ?out|ReadTimeout|ConnectTimeout"
        r"|ConnectError|RemoteProtocolError|IncompleteRead|Consistency check failed|CAS service error"
        r"|50[0234] Server Error",
        "A download of the trainer failed while it was {doing}: run the job again; if it fails again, set "
        "HF_HUB_DISABLE_XET=1 on the endpoint.",
    ),
    _cause(
        ErrorCode.DATASET_EMPTY,
        r"no (?P<what>images|videos) found in (?P<path>.+)",
        "The trainer found no {what} in {path}: check the dataset's folder and the types of its files (videos count "
        "only where num_frames is above 1).",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Missing control images|KeyError: 'pixel_values'",
        "The model edits pictures, and one had no control image: give each picture of the dataset one with the same "
        "name in control_path, and each sample a ctrl_img.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r'Missing "(?P<key>config[^"]*)" key',
        "The configuration lacks {key}: add it.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"ValueError: name_or_path must be specified",
        "The configuration lacks config.process[0].model.name_or_path: add it.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Unknown process type: (?P<name>\S+)",
        "The toolkit has no process of the type {name}{meant}: correct config.process[].type.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Unknown job type (?P<name>\S+)",
        "The toolkit has no job of the type {name}{meant}: correct job.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Unknown optimizer type (?P<name>\S+)",
        "The toolkit has no optimizer {name}{meant}: correct train.optimizer.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Sampler (?P<name>\S+) not supported",
        "The toolkit has no noise scheduler {name}{meant}: correct train.noise_scheduler and sample.sampler.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"Scheduler must be cosine",
        "The toolkit does not know the scheduler that train.lr_scheduler names: take constant, linear, cosine, "
        "cosine_with_restarts, step or constant_with_warmup.",
    ),
    _cause(
        ErrorCode.INVALID_CONFIG,
        r"argument after \*\* must be a mapping, not (?P<kind>\w+)",
        "A part of the configuration that must be a mapping is none ({kind}): check the indentation of its keys.",
    ),
    _cause(
        ErrorCode.CHECKPOINT_BROKEN,
        r"MetadataIncompleteBuffer|Error while deserializing header|HeaderToo(?:Large|Small)|InvalidHeader"
        r"|(?:Error running job|RuntimeError): PytorchStreamReader failed",
        "{broken}.",
    ),
    _cause(
        ErrorCode.TRAINING_FAILED,
        r"Video loading error \((?P<path>.+?)\):|cannot identify image file '(?P<picture>[^']+)'",
        "The trainer could not read {path} of the dataset: replace or remove it.",
    ),
    _cause(
        ErrorCode.TRAINING_FAILED,
        r"No such file or directory: '(?P<path>[^']+)'",
        "The trainer did not find {path}: check that path in the configuration.",
    ),
    _cause(
        ErrorCode.TRAINING_FAILED,
        r"No module named '(?P<module>[^']+)'",
        "The toolkit lacks the Python module {module}: set AI_TOOLKIT_PYTHON to the interpreter that ai-toolkit's "
        "requirements are installed for.",
    ),
)
