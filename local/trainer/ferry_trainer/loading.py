"""What the console shows while the model is loaded."""

from tqdm import tqdm

from .knobs import Misbehaviour
from .model import PictureModel
from .settings import TrainingSettings


def show_loading(settings: TrainingSettings, model: PictureModel, misbehaviour: Misbehaviour) -> None:
    """Print the phases, with the bars that the hub's libraries draw; the larger architectures say more."""
    if settings.model.arch:
        print("Loading transformer")
    with tqdm(total=len(model.halves), desc="Loading pipeline components...") as components:
        for adapter in model.adapters.values():
            misbehaviour.strike(None, resumed=False)
            list(tqdm(adapter, desc="Loading weights"))
            components.update()
    if settings.model.quantize:
        print("Quantizing transformer")
    if settings.model.arch:
        print("Model Loaded")
    if settings.network.present:
        print(
            f"create LoRA network. base dim (rank): {settings.network.rank}, alpha: {settings.network.alpha:g}\n"
            "neuron dropout: p=None, rank dropout: p=None, module dropout: p=None\n"
            "create LoRA for Text Encoder: 0 modules.\n"
            f"create LoRA for U-Net: {len(model.halves)} modules.\n"
            "enable LoRA for U-Net"
        )
