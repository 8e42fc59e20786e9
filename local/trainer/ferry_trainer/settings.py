"""What a training process is told to do: the keys of ``config.process[*]`` that this trainer follows, with ai-toolkit's
names and defaults. Other keys are accepted and have no effect here.
"""

from dataclasses import dataclass
from pathlib import Path

from .knobs import Knobs, read_knobs
from .prompts import Prompt, parse_prompt
from .section import ConfigError, Section

# The largest side of a picture, in pixels, that is learnt; more would cost a CPU too much.
LARGEST_SIDE = 128


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The low-rank adapter; without one (``present`` is false) ai-toolkit trains the model itself."""

    present: bool
    rank: int
    alpha: float


@dataclass(frozen=True, slots=True)
class SaveSettings:
    """When and how checkpoints are saved: steps between two, how many of them stay, type of their numbers."""

    every: int
    keep: int
    dtype: str
    diffusers: bool


@dataclass(frozen=True, slots=True)
class DatasetSettings:
    """One data set: a folder, or a JSON file whose keys are the pictures' paths. Dropouts are probabilities."""

    path: Path
    caption_suffix: str
    default_caption: str
    caption_dropout: float
    word_dropout: float
    control_folders: tuple[Path, ...]
    side: int
    cache_latents: bool
    workers: int


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The training proper; ``start_step`` is None where the checkpoint decides."""

    steps: int
    batch_size: int
    lr: float
    start_step: int | None
    skip_first_sample: bool
    disable_sampling: bool
    learnable_snr: bool
    switch_boundary_every: int


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """When pictures are sampled, and which."""

    every: int
    start_step: int
    suffix: str
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What is printed while the model is loaded, and the suffixes of the files that one checkpoint consists of."""

    arch: str
    quantize: bool
    halves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """Steps between two entries of the loss log, and whether there is one."""

    every: int
    database: bool


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """All of a training process. ``folder`` is where it writes, ``job_name`` what its files are called."""

    job_name: str
    name: str
    folder: Path
    trigger_word: str
    seed: int
    network: NetworkSettings
    save: SaveSettings
    datasets: tuple[DatasetSettings, ...]
    train: TrainSettings
    model: ModelSettings
    sample: SampleSettings
    logging: LoggingSettings
    knobs: Knobs


def read_training(process: Section, job_name: str, job_folder: str | None) -> TrainingSettings:
    """Read a process of a job; ``ConfigError`` naming the key for a value that makes no sense.

    ``job_folder`` is the job's own ``training_folder``, for a process that names none.
    """
    name = process.text("name", job_name)
    folder = process.text("training_folder", job_folder or "") or process.required("training_folder")
    train = process.section("train")
    return TrainingSettings(
        job_name=job_name,
        name=name,
        folder=Path(folder) / name,
        trigger_word=process.text("trigger_word"),
        seed=process.integer("training_seed", 42),
        network=_read_network(process),
        save=_read_save(process.section("save")),
        datasets=tuple(_read_dataset(dataset) for dataset in process.sections("datasets")),
        train=_read_train(train),
        model=_read_model(process.section("model"), process.section("network")),
        sample=_read_sample(process.section("sample")),
        logging=_read_logging(process.section("logging")),
        knobs=read_knobs(process.section("ferry")),
    )


def _read_network(process: Section) -> NetworkSettings:
    network = process.section("network")
    rank = network.integer("linear", network.integer("rank", 4))
    return NetworkSettings(bool(network.values), rank, network.number("linear_alpha", rank))


def _read_save(save: Section) -> SaveSettings:
    save_format = save.text("save_format", "safetensors")
    if save_format not in ("safetensors", "diffusers"):
        raise ConfigError(f"save_format must be safetensors or diffusers, got {save_format}")
    return SaveSettings(
        every=save.interval("save_every", 1000),
        keep=save.integer("max_step_saves_to_keep", 5),
        dtype=save.text("dtype", "float16"),
        diffusers=save_format == "diffusers",
    )


def _read_dataset(dataset: Section) -> DatasetSettings:
    control = dataset.values.get("control_path")
    resolution = dataset.values.get("resolution") or 512
    return DatasetSettings(
        path=Path(dataset.text("dataset_path") or dataset.required("folder_path")),
        caption_suffix="." + dataset.text("caption_ext", ".txt").lstrip("."),
        default_caption=dataset.text("default_caption"),
        caption_dropout=dataset.number("caption_dropout_rate", 0),
        word_dropout=dataset.number("token_dropout_rate", 0),
        control_folders=tuple(Path(folder) for folder in _as_list(control)),
        side=min(LARGEST_SIDE, *(int(side) for side in _as_list(resolution))),
        cache_latents=dataset.flag("cache_latents_to_disk"),
        workers=dataset.integer("num_workers", 2),
    )


def _read_train(train: Section) -> TrainSettings:
    return TrainSettings(
        steps=train.integer("steps", 1000),
        batch_size=max(1, train.integer("batch_size", 1)),
        lr=train.number("lr", 1e-6),
        start_step=None if train.values.get("start_step") is None else train.integer("start_step", 0),
        skip_first_sample=train.flag("skip_first_sample"),
        disable_sampling=train.flag("disable_sampling"),
        learnable_snr=train.flag("learnable_snr_gos"),
        switch_boundary_every=max(1, train.integer("switch_boundary_every", 1)),
    )


def _read_model(model: Section, network: Section) -> ModelSettings:
    kwargs = model.section("model_kwargs")
    halves: tuple[str, ...] = ("",)
    if model.text("arch").startswith("wan22_14b") and network.flag("split_multistage_loras", default=True):
        halves = ("_high_noise",) if kwargs.flag("train_high_noise", default=True) else ()
        halves += ("_low_noise",) if kwargs.flag("train_low_noise", default=True) else ()
    if not halves:
        raise ConfigError("At least one of train_high_noise or train_low_noise must be True in model.model_kwargs")
    return ModelSettings(
        arch=model.text("arch", "flux" if model.flag("is_flux") else ""), quantize=model.flag("quantize"), halves=halves
    )


def _read_sample(sample: Section) -> SampleSettings:
    whole = [Section(sample.where, {"prompt": prompt}) for prompt in sample.items("prompts")]
    items = list(sample.sections("samples")) or whole
    return SampleSettings(
        every=sample.interval("sample_every", 100),
        start_step=sample.integer("sample_start_step", 0),
        suffix=sample.text("format", "jpg"),
        prompts=tuple(parse_prompt(sample, item, number) for number, item in enumerate(items)),
    )


def _read_logging(logging: Section) -> LoggingSettings:
    return LoggingSettings(every=logging.interval("log_every", 100), database=logging.flag("use_ui_logger"))


def _as_list(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(item) for item in values if item is not None]
