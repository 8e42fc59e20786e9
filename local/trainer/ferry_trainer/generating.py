"""A ``generate`` job's process: pictures for prompts, without training, into ``output_folder``.

``model.lora_path`` (else ``model.name_or_path``) names a checkpoint of this trainer; without one the untrained model
draws.
"""

from pathlib import Path

from .checkpoints import read_weights
from .model import DOWN, UP, PictureModel
from .prompts import parse_prompt
from .samples import Sampler
from .section import ConfigError, Section
from .settings import LARGEST_SIDE


class Generating:
    """One process of type ``to_folder``."""

    def __init__(self, process: Section) -> None:
        self._folder = Path(process.required("output_folder"))
        self._generate = process.section("generate")
        self._prompts = self._generate.items("prompts")
        if not self._prompts:
            raise ConfigError("Prompts must be set")
        model = process.section("model")
        self._checkpoint = Path(model.text("lora_path") or model.text("name_or_path"))
        self._device = process.text("device", "cpu")

    def run(self) -> None:
        """Draw them all; ``SafetensorError`` for a checkpoint that is not whole."""
        print(f"Using device {self._device}\nLoading model...")
        model = _load(self._checkpoint)
        print(f"Compiling model...\nGenerating {len(self._prompts)} images")
        sampler = Sampler(
            folder=self._folder,
            suffix=self._generate.text("ext", "png"),
            prompts=[
                parse_prompt(self._generate, Section(self._generate.where, {"prompt": prompt}), number)
                for number, prompt in enumerate(self._prompts)
            ],
            trigger="",
        )
        sampler.sample(model, "")
        print("Done generating images")


def _load(checkpoint: Path) -> PictureModel:
    if not checkpoint.is_file():
        return PictureModel(LARGEST_SIDE, rank=4, alpha=4, halves=("",), seed=0)
    weights = read_weights(checkpoint)
    side, rank = round((len(weights[UP]) / 3) ** 0.5), len(weights[DOWN])
    model = PictureModel(side, rank, rank, ("",), seed=0)
    model.load("", weights)
    return model
