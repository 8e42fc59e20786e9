"""A prompt to sample: its text, and what the configuration or the flags inside the text say about the picture."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from .section import Section

# sd-scripts' way of putting options into a prompt: "a cat --w 512 --d 7".
_FLAG = re.compile(r"\s*--(\w+)\s*")
_CONTROL_KEYS = ("ctrl_img", "ctrl_img_1", "ctrl_img_2", "ctrl_img_3")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt; sizes in pixels, ``multiplier`` is how strongly the adapter acts."""

    text: str
    width: int
    height: int
    seed: int
    multiplier: float = 1.0
    control: Path | None = None


def parse_prompt(sample: Section, item: Section, number: int) -> Prompt:
    """The prompt of ``item``, the ``number``-th of the ``sample`` section, which has the values for all of them."""
    control = next((item.text(key) for key in _CONTROL_KEYS if item.values.get(key)), None)
    prompt = Prompt(
        text="",
        width=item.integer("width", sample.integer("width", 512)),
        height=item.integer("height", sample.integer("height", 512)),
        seed=item.integer("seed", sample.integer("seed", 0) + number * sample.flag("walk_seed")),
        multiplier=item.number("network_multiplier", sample.number("network_multiplier", 1.0)),
        control=Path(control) if control else None,
    )
    return apply_flags(prompt, item.text("prompt"))


def apply_flags(prompt: Prompt, text: str) -> Prompt:
    """``prompt`` with ``text`` as its text, the flags in it obeyed and taken out; unknown flags are only taken out."""
    words, *flags = _FLAG.split(text.strip())
    for name, value in zip(flags[::2], flags[1::2], strict=True):
        match name:
            case "w":
                prompt = replace(prompt, width=int(value))
            case "h":
                prompt = replace(prompt, height=int(value))
            case "d" | "seed":
                prompt = replace(prompt, seed=int(value))
            case "m" | "network_multiplier":
                prompt = replace(prompt, multiplier=float(value))
            case "ctrl_img" | "ctrl_img_1" | "ctrl_img_2" | "ctrl_img_3":
                prompt = replace(prompt, control=Path(value))
    return replace(prompt, text=words, width=_rounded(prompt.width), height=_rounded(prompt.height))


def _rounded(pixels: int) -> int:
    return max(64, pixels - pixels % 8)
