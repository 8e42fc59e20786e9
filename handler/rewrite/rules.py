"""Which keys of an ai-toolkit configuration hold paths, and of what kind, as ai-toolkit 0.12 reads them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase
from functools import lru_cache


class Kind(Enum):
    """What a path is for, which decides where it may point."""

    OUTPUT = auto()
    LOGS = auto()
    DATABASE = auto()
    OUTPUT_FILE = auto()
    FILE_NAME = auto()
    TRAINING = auto()
    FOLDER = auto()
    FILE = auto()
    FILE_OR_TEXT = auto()
    CACHE = auto()
    MODEL = auto()
    OTHER = auto()


INPUTS = frozenset({Kind.TRAINING, Kind.FOLDER, Kind.FILE})


class Form(Enum):
    """How a value holds its paths."""

    PLAIN = auto()
    COMMAS = auto()
    PROMPTS = auto()
    PROMPTS_OR_FILE = auto()
    WORDS_OR_FILE = auto()
    ANY_DEPTH = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """A path's kind, and the form of the value around it."""

    kind: Kind
    form: Form = Form.PLAIN


# Positions in lists are left out, `*` stands for any part of one key, and the first pattern that fits decides.
_PATTERNS: tuple[tuple[str, Rule], ...] = (
    ("config.training_folder", Rule(Kind.OUTPUT)),
    ("config.output_folder", Rule(Kind.OUTPUT)),
    ("config.log_dir", Rule(Kind.LOGS)),
    ("config.sqlite_db_path", Rule(Kind.DATABASE)),
    ("config.base_model", Rule(Kind.MODEL)),
    ("config.extract_model", Rule(Kind.MODEL)),
    ("config.process.training_folder", Rule(Kind.OUTPUT)),
    ("config.process.output_folder", Rule(Kind.OUTPUT)),
    ("config.process.copy_inputs_to", Rule(Kind.OUTPUT)),
    ("config.process.log_dir", Rule(Kind.LOGS)),
    ("config.process.sqlite_db_path", Rule(Kind.DATABASE)),
    ("config.process.output_path", Rule(Kind.OUTPUT_FILE)),
    ("config.process.save_path", Rule(Kind.OUTPUT_FILE)),
    ("config.process.filename", Rule(Kind.FILE_NAME)),
    ("config.process.input_path", Rule(Kind.FILE)),
    ("config.process.prompts", Rule(Kind.FILE, Form.PROMPTS_OR_FILE)),
    ("config.process.base_model", Rule(Kind.MODEL)),
    ("config.process.extract_model", Rule(Kind.MODEL)),
    ("config.process.*_path", Rule(Kind.MODEL)),
    ("config.process.model", Rule(Kind.MODEL, Form.ANY_DEPTH)),
    ("config.process.network.*_path", Rule(Kind.MODEL)),
    ("config.process.adapter.image_dir", Rule(Kind.FOLDER)),
    ("config.process.adapter.test_img_path", Rule(Kind.FILE, Form.COMMAS)),
    ("config.process.adapter.*_path", Rule(Kind.MODEL)),
    ("config.process.adapter.lora_config.*_path", Rule(Kind.MODEL)),
    ("config.process.train.negative_prompt", Rule(Kind.FILE_OR_TEXT)),
    ("config.process.train.*_path", Rule(Kind.MODEL)),
    ("config.process.train.validation_config.validation_items.*_path", Rule(Kind.FILE)),
    ("config.process.train.validation_config.validation_items.ctrl_img*", Rule(Kind.FILE)),
    ("config.process.datasets.folder_path", Rule(Kind.TRAINING)),
    ("config.process.datasets.dataset_path", Rule(Kind.TRAINING)),
    ("config.process.datasets.path", Rule(Kind.TRAINING)),
    ("config.process.datasets.random_triggers", Rule(Kind.FILE, Form.WORDS_OR_FILE)),
    ("config.process.datasets.*_path", Rule(Kind.FOLDER)),
    ("config.process.datasets.*_path_?", Rule(Kind.FOLDER)),
    ("config.process.datasets.*_folder", Rule(Kind.FOLDER)),
    ("config.process.datasets.*_dir", Rule(Kind.FOLDER)),
    ("config.process.sample.prompts", Rule(Kind.FILE, Form.PROMPTS)),
    ("config.process.sample.samples.prompt", Rule(Kind.FILE, Form.PROMPTS)),
    ("config.process.sample.samples.ctrl_img*", Rule(Kind.FILE)),
    ("config.process.first_sample.prompts", Rule(Kind.FILE, Form.PROMPTS)),
    ("config.process.first_sample.samples.prompt", Rule(Kind.FILE, Form.PROMPTS)),
    ("config.process.first_sample.samples.ctrl_img*", Rule(Kind.FILE)),
    ("config.process.generate.prompts", Rule(Kind.FILE, Form.PROMPTS_OR_FILE)),
    ("config.process.slider.prompt_file", Rule(Kind.FILE)),
    ("config.process.slider.prompt_tensors", Rule(Kind.CACHE)),
    ("config.process.slider.adapter_img_dir", Rule(Kind.FOLDER)),
    ("config.process.slider.datasets.*_folder", Rule(Kind.FOLDER)),
)
_SPLIT = tuple((tuple(pattern.split(".")), rule) for pattern, rule in _PATTERNS)


@lru_cache(maxsize=4096)
def rule_for(keys: tuple[str, ...]) -> Rule | None:
    """Return the rule for the value below ``keys``, positions in lists left out; None where it is no path."""
    for pattern, rule in _SPLIT:
        if len(pattern) == len(keys) and all(map(fnmatchcase, keys, pattern)):
            return rule
    return None
