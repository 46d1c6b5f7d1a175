"""The layers of a network, each with its token mixer, its weight matrices and its residual branches.

N tokens lie on a grid h x w; the grid of a sentence is 1 x N.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from resmlp.analysis.style import shorten
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ALIASES
from resmlp.hub.names import on_disk
from resmlp.inference.model_kinds import open_source
from resmlp.models import Segmenter, Seq2Seq, Trunk
from resmlp.models.backbones import TrunkFeatures
from resmlp.nn import (
    ConvMixer,
    LinearMixer,
    Mlp,
    MlpMixer,
    Residual,
    SentenceMixer,
    SeparableConvMixer,
    TriangularMixer,
)
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    number: int
    """from 0; the decoder continues the numbers of the encoder"""
    name: str
    """`layer 3`, `decoder layer 0`"""
    grid: Grid
    """(height, width) in tokens"""
    branches: dict[str, Residual]
    """`tokens` (absent without token mixing), `source` (decoder only), `channels`"""

    @property
    def mixer(self) -> nn.Module:
        """The token mixer; `nn.Identity` without token mixing."""
        return self.branches["tokens"].fn if "tokens" in self.branches else nn.Identity()

    def matrices(self) -> dict[str, Tensor]:
        """Name -> weights of the token mixer and of the channel MLP, without the weights that are never used."""
        mlp = cast(Mlp, self.branches["channels"].fn)
        return weights(self.mixer, self.grid) | {"MLP 1": mlp.fc1.weight, "MLP 2": mlp.fc2.weight}


@dataclass(frozen=True)
class Anatomy:
    """A network as a list of layers."""

    name: str
    mixer: str
    """kind of token mixing, the `mixer` of the architecture"""
    layers: Sequence[Layer]
    trunk: Trunk | None = None
    """the image network; None for a translator"""
    preprocessing: Preprocessing | None = None
    """from an image to the network's input"""
    trained: bool = True
    """False if the weights are random"""
    source: str = ""
    """the MODEL; the last two parts of a path"""
    local: bool = False
    """whether the linear mixers were initialized as 3x3 convolutions (`init` of the architecture)"""

    @property
    def title(self) -> str:
        """Source and architecture: `runs/x (resmlp_s12)`."""
        return f"{self.source} ({self.name})" if self.source not in ("", self.name) else self.name

    def choose(self, numbers: Iterable[int] = ()) -> list[Layer]:
        """The layers with these numbers; without numbers, five evenly spaced layers of the encoder and of the decoder.

        Raises `UserError` for a number that is out of range.
        """
        last = len(self.layers) - 1
        for number in numbers:
            demand(0 <= number <= last, f"--layers {number}: no such layer in {self.name}", f"0 to {last}")
        selected = set(numbers)
        if not selected:
            parts: dict[str, list[int]] = {}
            for layer in self.layers:
                parts.setdefault(layer.name.rpartition("layer")[0], []).append(layer.number)
            selected = {part[min(len(part) * i // 4, len(part) - 1)] for part in parts.values() for i in range(5)}
        return [self.layers[number] for number in sorted(selected)]


@singledispatch
def weights(mixer: nn.Module, grid: Grid) -> dict[str, Tensor]:
    """Name -> weights of a token mixer; {} for attention, whose matrix depends on the input."""
    return {}


@weights.register
def _(mixer: LinearMixer, grid: Grid) -> dict[str, Tensor]:
    return {"A": mixer.weight}


@weights.register
def _(mixer: SentenceMixer, grid: Grid) -> dict[str, Tensor]:
    return {"A": mixer.weight[: grid[1], : grid[1]]}


@weights.register
def _(mixer: TriangularMixer, grid: Grid) -> dict[str, Tensor]:
    down, across = torch.tril_indices(grid[1], grid[1]).unbind()
    return {"A": mixer.weight[down, across]}  # the zeros above the diagonal are not weights


@weights.register
def _(mixer: MlpMixer, grid: Grid) -> dict[str, Tensor]:
    return {"token MLP 1": mixer.fc1.weight, "token MLP 2": mixer.fc2.weight}


@weights.register
def _(mixer: ConvMixer, grid: Grid) -> dict[str, Tensor]:
    return {"kernels": mixer.conv.weight}


@weights.register
def _(mixer: SeparableConvMixer, grid: Grid) -> dict[str, Tensor]:
    return {"kernels": mixer.conv.weight, "1x1": mixer.pointwise.weight}


def open_anatomy(model: str, size: tuple[int, int] | None = None) -> Anatomy:
    """The layers of a MODEL: of a classifier, of the trunk of a segmenter, or of a translator; for images of `size`.

    Raises `UserError` for a network that is not built of the layers of `resmlp`, and for weights that are not finite.
    """
    opened = open_source(model, size)
    if isinstance(opened.model, Seq2Seq):
        anatomy = of_translator(opened.model)
    else:
        preprocessing = getattr(opened, "preprocessing", None) or opened.config.preprocessing
        anatomy = of_trunk(_trunk_of(opened.model, model), preprocessing, getattr(opened, "trained", True))
    return replace(anatomy, source=brief(model))


def brief(source: str) -> str:
    """MODEL in at most 80 characters; of a path, the last two parts."""
    parts = Path(source).parts[-2:] if on_disk(source) else ()
    return shorten(Path(*parts) if parts else source, 80)


def find_trunk(model: nn.Module) -> Trunk | None:
    """The `Trunk` of a classifier or segmenter; None for any other network."""
    if isinstance(model, Segmenter) and isinstance(model.backbone, TrunkFeatures):
        model = model.backbone.trunk
    return model if isinstance(model, Trunk) else None


def _trunk_of(model: nn.Module, source: str) -> Trunk:
    """The same; raises `UserError` for any other network."""
    trunk = find_trunk(model)
    if trunk is None:
        name = source.removeprefix("timm:")
        known = name.partition(".")[0] in ALIASES
        hint = f"give {name}, without timm:" if known else "give a name of `resmlp list models`"
        raise UserError(f"{source} is not a resmlp network", hint)
    return trunk


def of_trunk(trunk: Trunk, preprocessing: Preprocessing | None = None, trained: bool = True) -> Anatomy:
    """The layers of an image network, without the layers of a Class-MLP."""
    config = trunk.config
    layers = [
        Layer(number, f"layer {number}", config.grid, dict(block.named_children()))  # type: ignore[arg-type]
        for number, block in enumerate(trunk.blocks[: config.architecture.depth])
    ]
    linear = config.architecture.mixer == "linear"
    local = linear and config.architecture.init == "local"
    return Anatomy(config.name, config.architecture.mixer, layers, trunk, preprocessing, trained, local=local)


def of_translator(model: Seq2Seq) -> Anatomy:
    """The layers of a translator, encoder first; matrices are cut to the sentence lengths seen in training."""
    layers: list[Layer] = []
    for part, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        stack_branches: list[dict[str, Any]] = [dict(layer.named_children()) for layer in stack]
        mixers = [branches["tokens"].fn for branches in stack_branches]
        length = used_length(mixers) or model.config.architecture.max_length
        for number, branches in enumerate(stack_branches):
            layers.append(Layer(len(layers), f"{part} layer {number}", (1, length), branches))
    return Anatomy(model.config.name, model.config.architecture.mixer, layers)


def used_length(mixers: Sequence[nn.Module]) -> int:
    """Length in tokens of the longest training sentence, read off the biases; 0 if all of them are zero.

    A bias starts at zero, and the bias of a position beyond all sentences never gets a gradient.
    """
    biases: list[Tensor] = [mixer.bias for mixer in mixers if isinstance(mixer, LinearMixer)]
    reached = torch.stack(biases).any(0).nonzero() if biases else torch.empty(0)
    return int(reached.max()) + 1 if len(reached) else 0
